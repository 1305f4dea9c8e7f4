"""What the platform's own mail zone must hold for its tenants' domains to work.

Every domain's records lead here: its MX and its SPF, the address of its reports, the name of its
tracking. The zone is the operator's and is set up once; nothing here writes into it.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.rules import dns_records, mta_sts, spf

PROBE = "any-domain-of-a-tenant.example"
"""The name for which report authorisation is asked; a wildcard answers it like every other."""


@dataclass(frozen=True)
class Finding:
    """One thing the zone must have."""

    name: str
    type: str
    why: str
    fault: str | None = None
    fix: str | None = None


def check(
    mail_zone: str, resolve: spf.Resolve, *, tracking_host: str = "", has_mta_sts: bool = False
) -> tuple[Finding, ...]:
    """All that is needed, with its fault where it is wrong. Errors of `resolve` pass through."""
    hosts = [(host, "takes mail for every domain") for host in dns_records.mail_hosts(mail_zone)]
    if tracking_host:
        hosts.append((tracking_host, "serves the links of tracked mails"))
    if has_mta_sts:
        hosts.append((f"{mta_sts.HOST}.{mail_zone}", "serves every domain's MTA-STS policy"))
    takes_mail = (
        (mail_zone, "takes reports about TLS (RFC 8460)"),
        (f"rua.{mail_zone}", "takes DMARC reports (RFC 9990)"),
        (f"bounce.{mail_zone}", "takes bounces of the platform's own mail"),
    )
    return (
        *(_host(name, why, resolve) for name, why in hosts),
        *(_mail(name, why, mail_zone, resolve) for name, why in takes_mail),
        _authorisation(mail_zone, resolve),
        _spf(mail_zone, resolve),
    )


def _host(name: str, why: str, resolve: spf.Resolve) -> Finding:
    if resolve(name, "A") or resolve(name, "AAAA"):
        return Finding(name, "A", why)
    return Finding(name, "A", why, "it has no address", f"Add A or AAAA records for {name}.")


def _mail(name: str, why: str, mail_zone: str, resolve: spf.Resolve) -> Finding:
    ours = set(dns_records.mail_hosts(mail_zone))
    seen = {text.split()[-1].lower().rstrip(".") for text in resolve(name, "MX")}
    if seen & ours:
        return Finding(name, "MX", why)
    fault = f"its mail goes to {', '.join(sorted(seen))}" if seen else "it takes no mail"
    return Finding(name, "MX", why, fault, f"Add an MX record for {name}: 10 {min(ours)}")


def _authorisation(mail_zone: str, resolve: spf.Resolve) -> Finding:
    """Reports about a domain are sent to another one only with its consent (RFC 9990, 4).

    The consent is a wildcard: one record for all domains, which needs no write into our zone for
    each new one and shows nobody who our customers are.
    """
    parent = f"_report._dmarc.rua.{mail_zone}"
    why = "lets receivers send us reports about every domain (RFC 9990)"
    seen = resolve(f"{PROBE}.{parent}", "TXT")
    if sum(text.replace(" ", "").lower().split(";")[0] == "v=dmarc1" for text in seen) == 1:
        return Finding(f"*.{parent}", "TXT", why)
    fault = "there is no such record" if not seen else f"it says {'; '.join(seen)}"
    return Finding(f"*.{parent}", "TXT", why, fault, f'Add the TXT record *.{parent}: "v=DMARC1"')


def _spf(mail_zone: str, resolve: spf.Resolve) -> Finding:
    """The cost of what each domain publishes, which includes ours."""
    name = f"_spf.{mail_zone}"
    why = "is included by every domain's SPF record (RFC 7208)"
    count = spf.lookups(dns_records.spf_of(mail_zone), resolve)
    if count.ok:
        return Finding(name, "TXT", f"{why}; {count.lookups} of {spf.MAX_LOOKUPS} lookups")
    fix = f'Keep one TXT record at {name}, of addresses: "v=spf1 ip4:… ip6:… -all"'
    return Finding(name, "TXT", why, "; ".join(count.faults), fix)
