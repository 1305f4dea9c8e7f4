"""Which request does what: method, address, the SDK's parameter type, what is imitated."""

from __future__ import annotations

from sandbox.stripe import (
    catalog,
    changes,
    charges,
    checkout,
    customers,
    disputes,
    endpoints,
    invoices,
    payment_intents,
    payment_methods,
    portal,
    radar,
    refunds,
    setup_intents,
    subscriptions,
)
from sandbox.stripe.routing import LISTED, Route, route, typed_of

_cus, _pm, _seti, _pi = (
    typed_of(n) for n in ("customer", "payment_method", "setup_intent", "payment_intent")
)
_sub, _inv, _ch, _re = (typed_of(n) for n in ("subscription", "invoice", "charge", "refund"))
_prod, _price, _evt, _we = (typed_of(n) for n in ("product", "price", "event", "webhook_endpoint"))
_warning = "radar._early_fraud_warning_{}_params.EarlyFraudWarning{}Params"
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
    route("POST", "/customers", customers.create, _cus("create"), CUSTOMER + " payment_method"),
    route("GET", "/customers", customers.list_, _cus("list"), LISTED + "email"),
    route("GET", "/customers/{customer}", customers.get, _cus("retrieve")),
    route("POST", "/customers/{customer}", customers.update, _cus("update"), CUSTOMER),
    route("DELETE", "/customers/{customer}", customers.delete, _cus("delete")),
    route(
        "GET",
        "/customers/{customer}/payment_methods",
        payment_methods.list_of_customer,
        "_customer_payment_method_list_params.CustomerPaymentMethodListParams",
        LISTED + "type",
    ),
    route(
        "GET",
        "/customers/{customer}/payment_methods/{method}",
        payment_methods.get_of_customer,
        "_customer_payment_method_retrieve_params.CustomerPaymentMethodRetrieveParams",
    ),
    route("POST", "/setup_intents", setup_intents.create, _seti("create"), SETUP),
    route(
        "GET", "/setup_intents", setup_intents.list_, _seti("list"),
        LISTED + "customer payment_method",
    ),
    route(
        "GET", "/setup_intents/{intent}", setup_intents.get, _seti("retrieve"),
        "client_secret", client=True,
    ),
    route(
        "POST", "/setup_intents/{intent}", setup_intents.update, _seti("update"),
        "description metadata",
    ),
    route(
        "POST", "/setup_intents/{intent}/confirm", setup_intents.confirm, _seti("confirm"),
        CONFIRM_SETUP, client=True,
    ),
    route(
        "POST", "/setup_intents/{intent}/cancel", setup_intents.cancel, _seti("cancel"),
        "cancellation_reason",
    ),
    route(
        "POST", "/payment_methods", payment_methods.create, _pm("create"),
        "allow_redisplay billing_details card metadata type", client=True,
    ),
    route(
        "GET", "/payment_methods", payment_methods.list_, _pm("list"), LISTED + "customer type"
    ),
    route("GET", "/payment_methods/{method}", payment_methods.get, _pm("retrieve")),
    route(
        "POST", "/payment_methods/{method}", payment_methods.update, _pm("update"),
        "billing_details card metadata",
    ),
    route(
        "POST", "/payment_methods/{method}/attach", payment_methods.attach, _pm("attach"),
        "customer",
    ),
    route("POST", "/payment_methods/{method}/detach", payment_methods.detach, _pm("detach")),
    route(
        "POST", "/products", catalog.create_product, _prod("create"),
        "active description id metadata name unit_label url",
    ),
    route("GET", "/products", catalog.list_products, _prod("list"), LISTED + "active ids"),
    route("GET", "/products/{product}", catalog.get_product, _prod("retrieve")),
    route(
        "POST", "/products/{product}", catalog.update_product, _prod("update"),
        "active default_price description metadata name",
    ),
    route(
        "POST", "/prices", catalog.create_price, _price("create"),
        "active currency lookup_key metadata nickname product product_data recurring tax_behavior"
        " transfer_lookup_key unit_amount",
    ),
    route(
        "GET", "/prices", catalog.list_prices, _price("list"),
        LISTED + "active currency lookup_keys product recurring type",
    ),
    route("GET", "/prices/{price}", catalog.get_price, _price("retrieve")),
    route(
        "POST", "/prices/{price}", catalog.update_price, _price("update"),
        "active lookup_key metadata nickname tax_behavior transfer_lookup_key",
    ),
    route("POST", "/subscriptions", subscriptions.create, _sub("create"), SUBSCRIBE),
    route(
        "GET", "/subscriptions", subscriptions.list_, _sub("list"),
        LISTED + "collection_method customer price status",
    ),
    route("GET", "/subscriptions/{subscription}", subscriptions.get, _sub("retrieve")),
    route("POST", "/subscriptions/{subscription}", changes.update, _sub("update"), CHANGE),
    route(
        "DELETE", "/subscriptions/{subscription}", subscriptions.cancel, _sub("cancel"),
        "cancellation_details",
    ),
    route(
        "POST", "/subscriptions/{subscription}/resume", subscriptions.resume, _sub("resume"),
        "billing_cycle_anchor payment_behavior proration_behavior",
    ),
    route(
        "GET", "/subscription_items", invoices.list_items, typed_of("subscription_item")("list"),
        LISTED + "subscription",
    ),
    route(
        "GET", "/invoices", invoices.list_, _inv("list"),
        LISTED + "collection_method customer status subscription",
    ),
    route(
        "POST", "/invoices/create_preview", invoices.create_preview, _inv("create_preview"),
        "customer subscription subscription_details",
    ),
    route("GET", "/invoices/{invoice}", invoices.get, _inv("retrieve")),
    route(
        "GET", "/invoices/{invoice}/lines", invoices.list_lines,
        typed_of("invoice_line_item")("list"), LISTED,
    ),
    route(
        "POST", "/invoices/{invoice}/pay", invoices.pay, _inv("pay"), "off_session payment_method"
    ),
    route("POST", "/invoices/{invoice}/void", invoices.void, _inv("void_invoice")),
    route("POST", "/invoices/{invoice}/finalize", invoices.finalize, _inv("finalize_invoice")),
    route(
        "POST", "/invoices/{invoice}/mark_uncollectible", invoices.mark_uncollectible,
        _inv("mark_uncollectible"),
    ),
    route(
        "GET", "/invoice_payments", invoices.list_payments, typed_of("invoice_payment")("list"),
        LISTED + "invoice payment status",
    ),
    route(
        "GET", "/invoice_payments/{payment}", invoices.get_payment,
        typed_of("invoice_payment")("retrieve"),
    ),
    route("POST", "/payment_intents", payment_intents.create, _pi("create"), PAYMENT),
    route("GET", "/payment_intents", payment_intents.list_, _pi("list"), LISTED + "customer"),
    route(
        "GET", "/payment_intents/{intent}", payment_intents.get, _pi("retrieve"),
        "client_secret", client=True,
    ),
    route(
        "POST", "/payment_intents/{intent}", payment_intents.update, _pi("update"),
        "amount description metadata receipt_email setup_future_usage",
    ),
    route(
        "POST", "/payment_intents/{intent}/confirm", payment_intents.confirm, _pi("confirm"),
        CONFIRM_PAYMENT, client=True,
    ),
    route(
        "POST", "/payment_intents/{intent}/capture", payment_intents.capture, _pi("capture"),
        "amount_to_capture metadata",
    ),
    route(
        "POST", "/payment_intents/{intent}/cancel", payment_intents.cancel, _pi("cancel"),
        "cancellation_reason",
    ),
    route("GET", "/charges", charges.list_, _ch("list"), LISTED + "customer payment_intent"),
    route("GET", "/charges/{charge}", charges.get, _ch("retrieve")),
    route(
        "POST", "/refunds", refunds.create, _re("create"),
        "amount charge metadata payment_intent reason",
    ),
    route("GET", "/refunds", refunds.list_, _re("list"), LISTED + "charge payment_intent"),
    route("GET", "/refunds/{refund}", refunds.get, _re("retrieve")),
    route(
        "GET", "/disputes", disputes.list_, typed_of("dispute")("list"),
        LISTED + "charge payment_intent",
    ),
    route("GET", "/disputes/{dispute}", disputes.get, typed_of("dispute")("retrieve")),
    route(
        "GET", "/radar/early_fraud_warnings", radar.list_, _warning.format("list", "List"),
        LISTED + "charge payment_intent",
    ),
    route(
        "GET", "/radar/early_fraud_warnings/{warning}", radar.get,
        _warning.format("retrieve", "Retrieve"),
    ),
    route(
        "POST", "/checkout/sessions", checkout.create, _session.format("create", "Create"), CHECKOUT
    ),
    route(
        "GET", "/checkout/sessions", checkout.list_, _session.format("list", "List"),
        LISTED + "customer payment_intent status subscription",
    ),
    route(
        "GET", "/checkout/sessions/{session}", checkout.get, _session.format("retrieve", "Retrieve")
    ),
    route(
        "POST", "/checkout/sessions/{session}/expire", checkout.expire,
        _session.format("expire", "Expire"),
    ),
    route(
        "POST", "/billing_portal/sessions", portal.create,
        "billing_portal._session_create_params.SessionCreateParams", "customer locale return_url",
    ),
    route(
        "GET", "/events", endpoints.list_events, _evt("list"),
        LISTED + "delivery_success type types",
    ),
    route("GET", "/events/{event}", endpoints.get_event, _evt("retrieve")),
    route(
        "POST", "/webhook_endpoints", endpoints.create, _we("create"),
        "api_version description enabled_events metadata url",
    ),
    route("GET", "/webhook_endpoints", endpoints.list_, _we("list"), LISTED),
    route("GET", "/webhook_endpoints/{endpoint}", endpoints.get, _we("retrieve")),
    route(
        "POST", "/webhook_endpoints/{endpoint}", endpoints.update, _we("update"),
        "description disabled enabled_events url",
    ),
    route("DELETE", "/webhook_endpoints/{endpoint}", endpoints.delete, _we("delete")),
)  # fmt: skip


def find(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The first match wins, so that fixed words stand before `{id}`."""
    for one in ROUTES:
        found = one.match(method, path)
        if found is not None:
            return one, found
    return None
