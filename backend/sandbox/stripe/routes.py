"""Which request does what: method, address, the SDK's parameter type, what is imitated."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.stripe import (
    catalog,
    changes,
    charges,
    checkout,
    customers,
    endpoints,
    invoices,
    payment_intents,
    payment_methods,
    portal,
    setup_intents,
    subscriptions,
)
from sandbox.stripe.account import Object

Handler = Callable[..., Object]
LISTED = "created ending_before limit starting_after "


@dataclass(frozen=True)
class Route:
    """`accepts` are the parameters of the type that have an effect here (or none by nature).

    `client` marks what a browser may do with the publishable key and the object's secret.
    """

    method: str
    path: str
    handler: Handler
    params: str
    accepts: frozenset[str]
    client: bool = False

    def match(self, method: str, path: str) -> dict[str, str] | None:
        if method != self.method:
            return None
        found = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", self.path), path)
        return found.groupdict() if found else None


def _route(
    method: str, path: str, handler: Handler, params: str, accepts: str = "", client: bool = False
) -> Route:
    return Route(
        method, f"/v1{path}", handler, params, frozenset(accepts.split()) | {"expand"}, client
    )


def _crud(name: str) -> Callable[[str], str]:
    """ "customer" and "create" to "_customer_create_params.CustomerCreateParams"."""
    camel = "".join(part.title() for part in name.split("_"))

    def typed(verb: str) -> str:
        return f"_{name}_{verb}_params.{camel}{''.join(p.title() for p in verb.split('_'))}Params"

    return typed


_cus, _pm, _seti, _pi = (
    _crud(n) for n in ("customer", "payment_method", "setup_intent", "payment_intent")
)
_sub, _inv, _ch, _re = (_crud(n) for n in ("subscription", "invoice", "charge", "refund"))
_prod, _price, _evt, _we = (_crud(n) for n in ("product", "price", "event", "webhook_endpoint"))
_session = "checkout._session_{}_params.Session{}Params"
CUSTOMER = "address description email invoice_settings metadata name phone preferred_locales"
SETUP = (
    "allowed_payment_method_types automatic_payment_methods confirm customer description"
    " mandate_data metadata payment_method return_url usage use_stripe_sdk"
)
CONFIRM_SETUP = (
    "allowed_payment_method_types mandate_data payment_method payment_method_data return_url"
    " use_stripe_sdk"
)
PAYMENT = (
    "allowed_payment_method_types amount automatic_payment_methods capture_method confirm"
    " confirmation_method currency customer description error_on_requires_action mandate_data"
    " metadata off_session payment_method receipt_email return_url setup_future_usage"
    " statement_descriptor statement_descriptor_suffix use_stripe_sdk"
)
CONFIRM_PAYMENT = (
    "allowed_payment_method_types capture_method error_on_requires_action mandate_data off_session"
    " payment_method payment_method_data receipt_email return_url setup_future_usage"
    " use_stripe_sdk"
)
SUBSCRIBE = (
    "billing_mode cancel_at cancel_at_period_end collection_method customer"
    " default_payment_method description items metadata off_session payment_behavior"
    " payment_settings proration_behavior trial_end trial_period_days trial_settings"
)
CHANGE = (
    "billing_cycle_anchor cancel_at cancel_at_period_end cancellation_details collection_method"
    " default_payment_method description items metadata off_session payment_behavior"
    " payment_settings proration_behavior proration_date trial_end trial_settings"
)
CHECKOUT = (
    "cancel_url client_reference_id customer customer_creation customer_email expires_at"
    " line_items metadata mode payment_intent_data payment_method_collection setup_intent_data"
    " subscription_data success_url allowed_payment_method_types currency locale ui_mode"
)

ROUTES = (
    _route("POST", "/customers", customers.create, _cus("create"), CUSTOMER + " payment_method"),
    _route("GET", "/customers", customers.list_, _cus("list"), LISTED + "email"),
    _route("GET", "/customers/{customer}", customers.get, _cus("retrieve")),
    _route("POST", "/customers/{customer}", customers.update, _cus("update"), CUSTOMER),
    _route("DELETE", "/customers/{customer}", customers.delete, _cus("delete")),
    _route(
        "GET",
        "/customers/{customer}/payment_methods",
        payment_methods.list_of_customer,
        "_customer_payment_method_list_params.CustomerPaymentMethodListParams",
        LISTED + "type",
    ),
    _route(
        "GET",
        "/customers/{customer}/payment_methods/{method}",
        payment_methods.get_of_customer,
        "_customer_payment_method_retrieve_params.CustomerPaymentMethodRetrieveParams",
    ),
    _route("POST", "/setup_intents", setup_intents.create, _seti("create"), SETUP),
    _route(
        "GET", "/setup_intents", setup_intents.list_, _seti("list"),
        LISTED + "customer payment_method",
    ),
    _route(
        "GET", "/setup_intents/{intent}", setup_intents.get, _seti("retrieve"),
        "client_secret", client=True,
    ),
    _route(
        "POST", "/setup_intents/{intent}", setup_intents.update, _seti("update"),
        "description metadata",
    ),
    _route(
        "POST", "/setup_intents/{intent}/confirm", setup_intents.confirm, _seti("confirm"),
        CONFIRM_SETUP, client=True,
    ),
    _route(
        "POST", "/setup_intents/{intent}/cancel", setup_intents.cancel, _seti("cancel"),
        "cancellation_reason",
    ),
    _route(
        "POST", "/payment_methods", payment_methods.create, _pm("create"),
        "allow_redisplay billing_details card metadata type", client=True,
    ),
    _route(
        "GET", "/payment_methods", payment_methods.list_, _pm("list"), LISTED + "customer type"
    ),
    _route("GET", "/payment_methods/{method}", payment_methods.get, _pm("retrieve")),
    _route(
        "POST", "/payment_methods/{method}", payment_methods.update, _pm("update"),
        "billing_details card metadata",
    ),
    _route(
        "POST", "/payment_methods/{method}/attach", payment_methods.attach, _pm("attach"),
        "customer",
    ),
    _route("POST", "/payment_methods/{method}/detach", payment_methods.detach, _pm("detach")),
    _route(
        "POST", "/products", catalog.create_product, _prod("create"),
        "active description id metadata name unit_label url",
    ),
    _route("GET", "/products", catalog.list_products, _prod("list"), LISTED + "active ids"),
    _route("GET", "/products/{product}", catalog.get_product, _prod("retrieve")),
    _route(
        "POST", "/products/{product}", catalog.update_product, _prod("update"),
        "active default_price description metadata name",
    ),
    _route(
        "POST", "/prices", catalog.create_price, _price("create"),
        "active currency lookup_key metadata nickname product product_data recurring tax_behavior"
        " transfer_lookup_key unit_amount",
    ),
    _route(
        "GET", "/prices", catalog.list_prices, _price("list"),
        LISTED + "active currency lookup_keys product recurring type",
    ),
    _route("GET", "/prices/{price}", catalog.get_price, _price("retrieve")),
    _route(
        "POST", "/prices/{price}", catalog.update_price, _price("update"),
        "active lookup_key metadata nickname tax_behavior transfer_lookup_key",
    ),
    _route("POST", "/subscriptions", subscriptions.create, _sub("create"), SUBSCRIBE),
    _route(
        "GET", "/subscriptions", subscriptions.list_, _sub("list"),
        LISTED + "collection_method customer price status",
    ),
    _route("GET", "/subscriptions/{subscription}", subscriptions.get, _sub("retrieve")),
    _route("POST", "/subscriptions/{subscription}", changes.update, _sub("update"), CHANGE),
    _route(
        "DELETE", "/subscriptions/{subscription}", subscriptions.cancel, _sub("cancel"),
        "cancellation_details",
    ),
    _route(
        "POST", "/subscriptions/{subscription}/resume", subscriptions.resume, _sub("resume"),
        "billing_cycle_anchor payment_behavior proration_behavior",
    ),
    _route(
        "GET", "/subscription_items", invoices.list_items, _crud("subscription_item")("list"),
        LISTED + "subscription",
    ),
    _route(
        "GET", "/invoices", invoices.list_, _inv("list"),
        LISTED + "collection_method customer status subscription",
    ),
    _route(
        "POST", "/invoices/create_preview", invoices.create_preview, _inv("create_preview"),
        "customer subscription subscription_details",
    ),
    _route("GET", "/invoices/{invoice}", invoices.get, _inv("retrieve")),
    _route(
        "GET", "/invoices/{invoice}/lines", invoices.list_lines,
        _crud("invoice_line_item")("list"), LISTED,
    ),
    _route(
        "POST", "/invoices/{invoice}/pay", invoices.pay, _inv("pay"), "off_session payment_method"
    ),
    _route("POST", "/invoices/{invoice}/void", invoices.void, _inv("void_invoice")),
    _route("POST", "/invoices/{invoice}/finalize", invoices.finalize, _inv("finalize_invoice")),
    _route(
        "POST", "/invoices/{invoice}/mark_uncollectible", invoices.mark_uncollectible,
        _inv("mark_uncollectible"),
    ),
    _route(
        "GET", "/invoice_payments", invoices.list_payments, _crud("invoice_payment")("list"),
        LISTED + "invoice payment status",
    ),
    _route(
        "GET", "/invoice_payments/{payment}", invoices.get_payment,
        _crud("invoice_payment")("retrieve"),
    ),
    _route("POST", "/payment_intents", payment_intents.create, _pi("create"), PAYMENT),
    _route("GET", "/payment_intents", payment_intents.list_, _pi("list"), LISTED + "customer"),
    _route(
        "GET", "/payment_intents/{intent}", payment_intents.get, _pi("retrieve"),
        "client_secret", client=True,
    ),
    _route(
        "POST", "/payment_intents/{intent}", payment_intents.update, _pi("update"),
        "amount description metadata receipt_email setup_future_usage",
    ),
    _route(
        "POST", "/payment_intents/{intent}/confirm", payment_intents.confirm, _pi("confirm"),
        CONFIRM_PAYMENT, client=True,
    ),
    _route(
        "POST", "/payment_intents/{intent}/capture", payment_intents.capture, _pi("capture"),
        "amount_to_capture metadata",
    ),
    _route(
        "POST", "/payment_intents/{intent}/cancel", payment_intents.cancel, _pi("cancel"),
        "cancellation_reason",
    ),
    _route("GET", "/charges", charges.list_, _ch("list"), LISTED + "customer payment_intent"),
    _route("GET", "/charges/{charge}", charges.get, _ch("retrieve")),
    _route(
        "POST", "/refunds", charges.refund, _re("create"),
        "amount charge metadata payment_intent reason",
    ),
    _route("GET", "/refunds", charges.list_refunds, _re("list"), LISTED + "charge payment_intent"),
    _route("GET", "/refunds/{refund}", charges.get_refund, _re("retrieve")),
    _route(
        "POST", "/checkout/sessions", checkout.create, _session.format("create", "Create"), CHECKOUT
    ),
    _route(
        "GET", "/checkout/sessions", checkout.list_, _session.format("list", "List"),
        LISTED + "customer payment_intent status subscription",
    ),
    _route(
        "GET", "/checkout/sessions/{session}", checkout.get, _session.format("retrieve", "Retrieve")
    ),
    _route(
        "POST", "/checkout/sessions/{session}/expire", checkout.expire,
        _session.format("expire", "Expire"),
    ),
    _route(
        "POST", "/billing_portal/sessions", portal.create,
        "billing_portal._session_create_params.SessionCreateParams", "customer locale return_url",
    ),
    _route(
        "GET", "/events", endpoints.list_events, _evt("list"),
        LISTED + "delivery_success type types",
    ),
    _route("GET", "/events/{event}", endpoints.get_event, _evt("retrieve")),
    _route(
        "POST", "/webhook_endpoints", endpoints.create, _we("create"),
        "api_version description enabled_events metadata url",
    ),
    _route("GET", "/webhook_endpoints", endpoints.list_, _we("list"), LISTED),
    _route("GET", "/webhook_endpoints/{endpoint}", endpoints.get, _we("retrieve")),
    _route(
        "POST", "/webhook_endpoints/{endpoint}", endpoints.update, _we("update"),
        "description disabled enabled_events url",
    ),
    _route("DELETE", "/webhook_endpoints/{endpoint}", endpoints.delete, _we("delete")),
)  # fmt: skip


def find(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The first match wins, so that fixed words stand before `{id}`."""
    for route in ROUTES:
        found = route.match(method, path)
        if found is not None:
            return route, found
    return None
