"""Second factors."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.api.schemas.base import In, Out, example
from app.rules.passwords import LONGEST

Code = Annotated[str, Field(min_length=1, max_length=64)]


class SetUpOut(Out):
    secret: str
    """Base32, for those who cannot scan the picture."""
    otpauth_uri: str
    qr_svg: str
    """An `<svg>` element of the same, to show as it is."""


class EnableIn(In):
    model_config = example({"code": "287082"})

    code: Code
    """Six digits that the app shows."""


class DisableIn(In):
    """One of the two proves that it is you."""

    model_config = example({"password": "correct horse battery"})

    password: Annotated[str, Field(min_length=1, max_length=LONGEST)] | None = None
    code: Code | None = None
    """Of the app, or a recovery code."""

    @model_validator(mode="after")
    def _proof(self) -> Self:
        if (self.password is None) == (self.code is None):
            raise ValueError("send either password or code")
        return self


class TwoFactorOut(Out):
    enabled: bool
    required: bool
    """Whether the company requires it of everybody."""
    recovery_codes_left: int


class ChangedOut(Out):
    enabled: bool
    access_token: str
    """In place of the one used: every other session was signed out."""
    expires_in: int
    """Seconds."""
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # A kind, not a token.


class RecoveryCodesOut(Out):
    recovery_codes: list[str]
    """Each works once, in place of a code of the app. Shown this once."""


class EnabledOut(ChangedOut, RecoveryCodesOut):
    pass
