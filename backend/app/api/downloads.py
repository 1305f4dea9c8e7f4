"""Files: written aside first, then streamed, so that a slow reader holds no connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from tempfile import SpooledTemporaryFile

from fastapi.responses import StreamingResponse

_IN_MEMORY = 1 << 20
_CHUNK = 1 << 16


def csv_file(lines: Iterable[str], name: str) -> StreamingResponse:
    """`lines` as the CSV file `name`."""
    return file(lines, name, "text/csv; charset=utf-8")


def file(pieces: Iterable[str], name: str, media_type: str) -> StreamingResponse:
    """The file `name`, in UTF-8; an error while its pieces are made is still a proper answer."""
    spool = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  # Closed when it was read.
    for piece in pieces:
        spool.write(piece.encode())
    length = spool.tell()
    spool.seek(0)

    def chunks() -> Iterator[bytes]:
        with spool:
            while chunk := spool.read(_CHUNK):
                yield chunk

    return StreamingResponse(
        chunks(),
        media_type=media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(length),
        },
    )
