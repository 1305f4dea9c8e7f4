"""Names, from search to ready."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StrictBool, model_validator

from app.api.schemas.base import In, Instant, Out, example


class SearchIn(In):
    model_config = example({"query": "acme-mail", "tlds": ["com", "net"]})

    query: Annotated[str, Field(min_length=1, max_length=253)]
    tlds: (
        Annotated[
            list[Annotated[str, Field(min_length=2, max_length=63)]],
            Field(min_length=1, max_length=20),
        ]
        | None
    ) = None


class PurchaseIn(In):
    model_config = example({"purchase_id": "019a2b3c-4d5e-7f60-8a1b-2c3d4e5f6071"})

    purchase_id: UUID | None = None
    payment_intent_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None

    @model_validator(mode="after")
    def _one(self) -> PurchaseIn:
        if (self.purchase_id is None) == (self.payment_intent_id is None):
            raise ValueError("give either purchase_id or payment_intent_id")
        return self


class DomainPatch(In):
    model_config = example({"auto_renew": False, "dmarc_policy": "quarantine"})

    auto_renew: StrictBool | None = None
    dmarc_policy: Literal["none", "quarantine", "reject"] | None = None
    """What receivers are asked to do with mail that fails DMARC."""

    @model_validator(mode="after")
    def _some(self) -> DomainPatch:
        if self.auto_renew is None and self.dmarc_policy is None:
            raise ValueError("give auto_renew or dmarc_policy")
        return self


class Registrant(In):
    model_config = example(
        {
            "first_name": "Ann",
            "last_name": "Lee",
            "organization": "Acme",
            "address": "1 Main Street",
            "city": "Phoenix",
            "state": "AZ",
            "postal_code": "85284",
            "country": "US",
            "phone": "+1.6613102107",
            "email": "ann@acme-mail.com",
        }
    )

    first_name: Annotated[str, Field(min_length=1, max_length=255)]
    last_name: Annotated[str, Field(min_length=1, max_length=255)]
    organization: Annotated[str, Field(max_length=255)] = ""
    address: Annotated[str, Field(min_length=1, max_length=255)]
    city: Annotated[str, Field(min_length=1, max_length=50)]
    state: Annotated[str, Field(min_length=1, max_length=50)]
    postal_code: Annotated[str, Field(min_length=1, max_length=50)]
    country: Annotated[str, Field(min_length=2, max_length=2)]
    """ISO 3166-1 alpha-2."""
    phone: Annotated[str, Field(min_length=7, max_length=50)]
    """`+1.2175550100`: country code, a dot, the number."""
    email: Annotated[str, Field(min_length=3, max_length=255)]


class RegistrantOut(Out):
    registrant: Registrant | None
    """Null: names are registered for the platform."""


class SearchOut(Out):
    domain_name: str
    available: bool
    premium: bool
    price: int | None = Field(validation_alias="price_cents")
    """In cents, for `years`."""
    renewal_price: int | None = Field(validation_alias="renewal_cents")
    currency: str
    years: int
    reason: str | None
    """Why it cannot be bought here, when it cannot."""
    suggested: bool
    """We thought of it, because what was asked for is taken."""
    blocklisted: bool | None
    """Whether a blocklist of domains holds it; null when nobody can know now."""


class StepOut(Out):
    name: str
    state: str
    started_at: Instant | None
    finished_at: Instant | None
    attempts: int
    detail: str | None


class DomainOut(Out):
    id: UUID
    domain_name: str
    status: str
    registrar_provider: str | None
    name_servers: list[str]
    kumo_authorized: bool
    dkim_selector: str | None
    dmarc_policy: str
    auto_renew: bool
    purchase_date: Instant | None
    expiry_date: Instant | None
    failure: str | None
    created_at: Instant
    updated_at: Instant


class DomainWithSteps(DomainOut):
    steps: list[StepOut]


class PurchaseOut(Out):
    domain: DomainOut


class RecordOut(Out):
    type: str
    name: str
    content: str
    ttl: int
    priority: int | None
    purpose: str
    state: str
    """ok, missing, different or ambiguous."""
    seen: list[str]
    """What name servers answer now."""
    asked: int
    """How many resolvers answered about it; ok means that all of them see it as wanted."""
    agreeing: int
    difference: str | None
    fix: str | None


class DNSOut(Out):
    domain_name: str
    records: list[RecordOut]
    all_ok: bool


class StepsEvent(Out):
    """The data of one server-sent event."""

    status: str
    failure: str | None
    steps: list[StepOut]


STREAM: dict[str, Any] = {
    "type": "object",
    "description": "One event. `data` is JSON.",
    "properties": {
        "event": {"enum": ["steps", "done"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {
                name: value
                for name, value in StepsEvent.model_json_schema(
                    ref_template="#/components/schemas/{model}"
                ).items()
                # Steps are a component already, by the operations that answer with them.
                if name != "$defs"
            },
        },
    },
    "required": ["event", "data"],
}
"""What an event stream consists of; OpenAPI 3.1 has no word of its own for it."""
