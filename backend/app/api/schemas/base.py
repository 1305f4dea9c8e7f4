"""What all schemas share: nothing unknown in, nothing unnamed out."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)


def example(fields: dict[str, Any]) -> ConfigDict:
    """`model_config` of a body that the documentation shows with these fields."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


class In(BaseModel):
    """A request's body. Unknown fields are refused, and text that PostgreSQL cannot store."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, data: Any) -> Any:
        if not _storable(data):
            raise ValueError("NUL and unpaired surrogate characters are not accepted")
        return data


def _storable(data: Any) -> bool:
    match data:
        case str():
            return "\0" not in data and not any("\ud800" <= char <= "\udfff" for char in data)
        case dict():
            return all(_storable(key) and _storable(value) for key, value in data.items())
        case list():
            return all(map(_storable, data))
        case _:
            return True


class Out(BaseModel):
    """A part of an answer, read from an object's attributes."""

    model_config = ConfigDict(from_attributes=True)


Instant = Annotated[datetime, AfterValidator(lambda instant: instant.astimezone(UTC))]
"""RFC 3339, in UTC whatever the database session's time zone is."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def _written_out(text: Any) -> Any:
    # A bare number would be taken for seconds since 1970.
    if not isinstance(text, str) or not _DAY.fullmatch(text):
        raise ValueError("write it as 2026-11-23")
    return text


Day = Annotated[date, BeforeValidator(_written_out)]
"""A calendar day, ISO 8601."""

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


def _address(text: str) -> str:
    try:
        # Whether mail arrives is for the verification mail to show; `.test` is for trying out.
        found = validate_email(text.strip(), check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    return found.normalized.lower()


Email = Annotated[
    str,
    StringConstraints(max_length=320),
    AfterValidator(_address),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": 320}),
]
