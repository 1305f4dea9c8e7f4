"""Who a name is registered for: the contact that registries ask for, and what they take.

Source: the parameter table of Namecheap's domains.create (required fields, lengths, the shape of
phone numbers, ISO 3166-1 countries); registries take the same by EPP (RFC 5733).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

_PHONE = re.compile(r"\+[0-9]{1,3}\.[0-9]{4,14}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_LONGEST = {"first_name": 255, "last_name": 255, "organization": 255, "address": 255, "email": 255}
_USUAL = 50
_OPTIONAL = frozenset({"organization"})

_CODES = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ"
    " BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM"
    " DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS"
    " GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN"
    " KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ"
    " MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM"
    " PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV"
    " SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI"
    " VN VU WF WS YE YT ZA ZM ZW"
)
COUNTRIES = frozenset(_CODES.split())
"""ISO 3166-1 alpha-2."""


class BadContact(ValueError):
    """A field of the contact would be refused by registries; `field` says which."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field} {why}")
        self.field = field


@dataclass(frozen=True)
class Contact:
    first_name: str
    last_name: str
    organization: str
    address: str
    city: str
    state: str
    postal_code: str
    country: str
    """ISO 3166-1 alpha-2, in capitals."""
    phone: str
    """`+1.2175550100`: country code, a dot, the number."""
    email: str


def read(given: Mapping[str, str]) -> Contact:
    """The contact in its proper form. Raises BadContact for the first field that is wrong."""
    values = {}
    for name in (field.name for field in fields(Contact)):
        value = " ".join(given.get(name, "").split())
        if not value and name not in _OPTIONAL:
            raise BadContact(name, "is missing")
        if len(value) > _LONGEST.get(name, _USUAL):
            raise BadContact(name, f"has at most {_LONGEST.get(name, _USUAL)} characters")
        if not value.isprintable():
            raise BadContact(name, "has characters that cannot be printed")
        values[name] = value
    values["country"] = values["country"].upper()
    if values["country"] not in COUNTRIES:
        raise BadContact("country", "is a code of two letters, such as US or DE")
    if not _PHONE.fullmatch(values["phone"]):
        raise BadContact("phone", "is written +1.2175550100: country code, a dot, the number")
    if not _EMAIL.fullmatch(values["email"]):
        raise BadContact("email", "is not an address")
    return Contact(**values)


def changed(before: Contact | None, after: Contact) -> list[str]:
    """Names of the fields that differ: what may be written down where values may not."""
    old = asdict(before) if before is not None else {}
    return [name for name, value in asdict(after).items() if old.get(name) != value]
