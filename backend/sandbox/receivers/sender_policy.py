"""SPF (RFC 7208) by pyspf, asking the sandbox's DNS."""

from __future__ import annotations

import warnings
from typing import Any

from sandbox.receivers.lookups import LookupFailed, Lookups
from sandbox.receivers.verdict import Check

with warnings.catch_warnings():
    # pyspf's source has escapes that Python 3.11 warns about when it compiles them.
    warnings.simplefilter("ignore")
    import spf

# RFC 7208 section 4.6.4: more than two empty answers are an error of the record.
MAX_VOID_LOOKUPS = 2


class _Query(spf.query):  # type: ignore[misc]
    """pyspf's evaluation with its single DNS method pointed at our resolver."""

    def __init__(self, lookups: Lookups, **about: Any) -> None:
        super().__init__(**about)
        self._lookups = lookups

    def dns(
        self, name: str, qtype: str, cnames: Any = None, ignore_void: bool = False
    ) -> list[Any]:
        del cnames  # The resolver follows CNAME chains itself.
        try:
            answer = self._lookups.ask(str(name), qtype)
        except LookupFailed as error:
            raise spf.TempError(f"DNS {error}") from error
        if not answer and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > MAX_VOID_LOOKUPS:
                raise spf.PermError(f"Void lookup limit of {MAX_VOID_LOOKUPS} exceeded")
        if qtype == "TXT":
            return list(answer.texts)
        if qtype == "MX":
            return list(answer.exchanges)
        return list(answer.values)


def check_spf(lookups: Lookups, client_ip: str, helo: str, mail_from: str) -> Check:
    """Judge the envelope sender, or the EHLO name when the sender is empty (RFC 7208 2.4)."""
    query = _Query(lookups, i=client_ip, s=mail_from, h=helo, timeout=3, querytime=10)
    result, _, explanation = query.check()
    if query.ident == "mailfrom":
        domain = mail_from.rpartition("@")[2].lower()
        identity = ("smtp.mailfrom", mail_from)
    else:
        domain, identity = helo.lower(), ("smtp.helo", helo)
    reasons = {
        "pass": f"{domain} designates {client_ip} as permitted sender",
        "fail": f"{domain} does not designate {client_ip} as permitted sender",
        "softfail": f"{domain} discourages use of {client_ip} as sender",
        "neutral": f"{domain} says neither yes nor no about {client_ip}",
        "none": f"{domain or 'an unnamed host'} publishes no SPF record",
    }
    reason = reasons.get(result, str(explanation))
    return Check(result, reason, domain=domain, properties=(identity,))
