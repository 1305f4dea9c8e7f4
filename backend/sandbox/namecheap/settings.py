"""What a test or a person may change about the registrar at run time."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from sandbox.namecheap.catalog import TLDS, Tld
from sandbox.namecheap.limits import GENEROUS, OFF, REAL, WINDOWS
from sandbox.world import World

START_BALANCE = "5000.00"
PRESETS = {"real": REAL, "generous": GENEROUS, "off": OFF}


class Settings:
    """Kept in the store, so that a restart changes nothing."""

    def __init__(self, world: World) -> None:
        self._kept = world.store.collection("namecheap.account")
        if "settings" not in self._kept:
            address = world.config.env.get("NAMECHEAP_CLIENT_IP", "")
            self._kept["settings"] = {
                "limits": dict(GENEROUS),
                "client_ips": sorted({"127.0.0.1", address} - {""}),
                "slow_seconds": 5.0,
                "later_seconds": 600.0,
                "prices": {},
            }
            self._kept["balance"] = {"amount": START_BALANCE}
        self._now = self._kept["settings"]

    @property
    def limits(self) -> dict[str, int | None]:
        return dict(self._now["limits"])

    @property
    def client_ips(self) -> list[str]:
        """IPv4 addresses that may call, as whitelisted in the provider's panel."""
        return list(self._now["client_ips"])

    @property
    def slow_seconds(self) -> float:
        """How long an answer about a `slow-…` name takes, after its effect."""
        return float(self._now["slow_seconds"])

    @property
    def later_seconds(self) -> float:
        """How long the registration of a `later-…` name stays unfinished."""
        return float(self._now["later_seconds"])

    def tld(self, name: str) -> Tld:
        """The suffix with the prices now in force; KeyError when it is not on sale."""
        tld = TLDS[name]
        changed = self._now["prices"].get(name, {})
        return Tld(
            **{
                **vars(tld),
                "register": Decimal(changed.get("register", tld.register)),
                "renew": Decimal(changed.get("renew", tld.renew)),
            }
        )

    @property
    def balance(self) -> Decimal:
        return Decimal(self._kept["balance"]["amount"])

    @balance.setter
    def balance(self, amount: Decimal) -> None:
        self._kept["balance"] = {"amount": str(amount)}

    def as_json(self) -> dict[str, Any]:
        return {**self._now, "balance": str(self.balance)}

    def change(self, wanted: dict[str, Any]) -> None:
        """Takes all or nothing; raises ValueError with a sentence for a person."""
        changed = dict(self._now)
        balance: Decimal | None = None
        for name, value in wanted.items():
            if name == "balance":
                balance = _amount(value)
            elif name == "limits":
                changed["limits"] = {**changed["limits"], **_limits(value)}
            elif name == "prices":
                changed["prices"] = {**changed["prices"], **_prices(value)}
            elif name == "client_ips":
                changed["client_ips"] = [str(address) for address in value]
            elif name in {"slow_seconds", "later_seconds"}:
                changed[name] = float(value)
            else:
                raise ValueError(f"Unknown setting {name!r}.")
        self._kept["settings"] = self._now = changed
        if balance is not None:
            self.balance = balance


def _limits(value: Any) -> dict[str, int | None]:
    if isinstance(value, str):
        if value not in PRESETS:
            raise ValueError(f"limits is an object or one of {', '.join(PRESETS)}.")
        return PRESETS[value]
    if not isinstance(value, dict) or not value.keys() <= WINDOWS.keys():
        raise ValueError(f"limits has the keys {', '.join(WINDOWS)}.")
    return {name: None if limit is None else int(limit) for name, limit in value.items()}


def _prices(value: Any) -> dict[str, dict[str, str]]:
    if not isinstance(value, dict) or not value.keys() <= TLDS.keys():
        raise ValueError(f"prices has keys among {', '.join(TLDS)}.")
    return {
        name: {action: str(_amount(price)) for action, price in actions.items()}
        for name, actions in value.items()
    }


def _amount(value: Any) -> Decimal:
    try:
        amount = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(f"{value!r} is not an amount of dollars.") from error
    if amount < 0:
        raise ValueError("An amount of dollars is not negative.")
    return amount
