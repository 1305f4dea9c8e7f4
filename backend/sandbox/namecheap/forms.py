"""Reading a command's parameters as strictly as the provider does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from sandbox.namecheap.answers import Refusal, refuse
from sandbox.namecheap.catalog import LABEL

BLOCKS = ("Registrant", "Tech", "Admin", "AuxBilling")
# Required fields with their greatest length, from the parameter table of domains.create.
REQUIRED = {
    "FirstName": 255,
    "LastName": 255,
    "Address1": 255,
    "City": 50,
    "StateProvince": 50,
    "PostalCode": 50,
    "Country": 50,
    "Phone": 50,
    "EmailAddress": 255,
}
OPTIONAL = {"OrganizationName": 255, "JobTitle": 255, "Address2": 255, "PhoneExt": 50, "Fax": 50}
PHONE = re.compile(r"^\+\d{1,3}\.\d{4,14}$")
EMAIL = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s.]+$")
_COUNTRIES = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR"
    " BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ"
    " EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW"
    " GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY"
    " KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV"
    " MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY"
    " QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG"
    " TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM"
    " ZW"
)
COUNTRIES = frozenset(_COUNTRIES.split())


def required(params: Mapping[str, str], name: str, number: int) -> str:
    value = params.get(name, "").strip()
    if not value:
        raise refuse(number, f"Parameter {name} is missing")
    return value


def flag(params: Mapping[str, str], name: str, default: str, number: int) -> bool:
    """yes/no in any case; anything else is refused under `number`."""
    value = params.get(name, "").strip().lower() or default
    if value not in {"yes", "no"}:
        raise refuse(number, f"Parameter {name} must be yes or no")
    return value == "yes"


def truth(params: Mapping[str, str], name: str) -> bool:
    return params.get(name, "").strip().lower() in {"true", "1", "yes"}


def whole(params: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """A number that the provider pulls back into its range instead of refusing it."""
    text = params.get(name, "").strip()
    return min(max(int(text) if text.isdigit() else default, low), high)


def years(params: Mapping[str, str], default: int | None, low: int, high: int) -> int:
    text = params.get("Years", "").strip()
    if not text and default is not None:
        return default
    if not text.isdigit() or not low <= int(text) <= high:
        raise refuse(2015167, f"Validation error from Years: {low} to {high} years are possible")
    return int(text)


def amount(params: Mapping[str, str], name: str) -> Decimal | None:
    text = params.get(name, "").strip()
    if not text:
        return None
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise refuse(2515610, "Prices do not match") from error


def name_servers(params: Mapping[str, str]) -> tuple[str, ...]:
    """Comma list, lower case; refuses with 2011168 when a host name is malformed."""
    found = tuple(
        host.strip().lower().rstrip(".")
        for host in params.get("Nameservers", "").split(",")
        if host.strip()
    )
    for host in found:
        labels = host.split(".")
        if len(labels) < 2 or not all(LABEL.match(label) for label in labels):
            raise refuse(2011168, f"Nameservers are not valid: {host}")
    if found and not 2 <= len(set(found)) <= 12:
        raise refuse(2011168, "Nameservers are not valid: give 2 to 12 different names")
    return found


def contacts(params: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The four contact blocks; refuses with every fault found, not only the first."""
    errors: list[tuple[int, str]] = []
    blocks: dict[str, dict[str, str]] = {}
    for block in BLOCKS:
        blocks[block] = {}
        for field, longest in {**REQUIRED, **OPTIONAL}.items():
            name = block + field
            value = params.get(name, "").strip()
            if value:
                blocks[block][field] = value
            elif field in REQUIRED:
                errors.append((2010323, f"Parameter {name} is missing"))
                continue
            if len(value) > longest:
                errors.append((2010323, f"Parameter {name} is longer than {longest}"))
        errors.extend(_faults(block, blocks[block]))
    if errors:
        raise Refusal(*errors)
    return blocks


def _faults(block: str, values: Mapping[str, str]) -> list[tuple[int, str]]:
    faults = []
    if "Phone" in values and not PHONE.match(values["Phone"]):
        faults.append((2015182, f"{block} contact phone is invalid. The format is +NNN.NNNNNNNNNN"))
    if "EmailAddress" in values and not EMAIL.match(values["EmailAddress"]):
        faults.append((2010323, f"{block} contact e-mail address is invalid"))
    if "Country" in values and values["Country"].upper() not in COUNTRIES:
        faults.append((2005, f"{block} country name is not valid"))
    return faults
