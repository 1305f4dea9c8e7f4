"""What the host hands to Lua: objects of which only declared methods and fields can be reached."""

from __future__ import annotations

import base64
from typing import Any, ClassVar


class LuaObject:
    """Base of everything that kumod would pass as userdata."""

    lua_name: ClassVar[str] = ""
    lua_methods: ClassVar[tuple[str, ...]] = ()
    lua_fields: ClassVar[tuple[str, ...]] = ()
    registry: ClassVar[dict[str, type[LuaObject]]] = {}

    def __init_subclass__(cls) -> None:
        LuaObject.registry[cls.lua_name] = cls


class Config(LuaObject):
    """The result of a make_* constructor: the arguments, checked, with durations in seconds."""

    lua_name = "Config"

    def __init__(self, kind: str, values: dict[str, Any]) -> None:
        self.kind = kind
        self.values = values

    def __str__(self) -> str:
        return self.kind


class Address(LuaObject):
    """An envelope address; `email` is the whole of it, empty for the null sender."""

    lua_name = "EnvelopeAddress"
    lua_fields = ("user", "domain", "email")

    def __init__(self, email: str) -> None:
        self.email = email
        self.user, _, self.domain = email.rpartition("@")

    def __str__(self) -> str:
        return self.email


class Mailbox(LuaObject):
    """One address of a header."""

    lua_name = "HeaderAddress"
    lua_fields = ("user", "domain", "email", "name")

    def __init__(self, name: str | None, email: str) -> None:
        self.name = name
        self.email = email
        self.user, _, self.domain = email.rpartition("@")

    def __str__(self) -> str:
        return self.email


class AddressHeader(LuaObject):
    """A parsed address header; `list` holds every mailbox, groups flattened."""

    lua_name = "AddressHeader"
    lua_fields = ("list",)

    def __init__(self, mailboxes: list[Mailbox]) -> None:
        self.list = mailboxes

    def __str__(self) -> str:
        return ", ".join(str(mailbox) for mailbox in self.list)


class Digest(LuaObject):
    """The bytes of a hash."""

    lua_name = "BinaryResult"
    lua_fields = ("hex", "base32_nopad")

    def __init__(self, value: bytes) -> None:
        self.hex = value.hex()
        self.base32_nopad = base64.b32encode(value).decode().rstrip("=")

    def __str__(self) -> str:
        return self.hex
