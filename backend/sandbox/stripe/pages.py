"""HTML (and one small PDF) for people who click through the sandbox."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from sandbox.stripe.account import Object
from sandbox.stripe.cards import BY_ID

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem;"
    "color:#1a1f36}h1{font-size:1.3rem}td{padding:.2rem 1rem .2rem 0}select,button{font:inherit;"
    "padding:.4rem .8rem;margin:.3rem .3rem .3rem 0}.no{color:#b3261e}small{color:#697386}"
)


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>{body}"
        "<p><small>Sandbox: no money moves.</small></p></html>"
    )


def _money(cents: int | None, currency: str | None) -> str:
    return f"{(cents or 0) / 100:,.2f} {escape((currency or 'usd').upper())}"


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def _cards() -> str:
    names = "".join(f'<option value="{name}">{name}</option>' for name in BY_ID)
    return f'<label>Test card <select name="card">{names}</select></label>'


def _refusal(text: str | None) -> str:
    return f'<p class="no" role="alert">{escape(text)}</p>' if text else ""


def problem(text: str) -> str:
    return _page("Sandbox", f"<p>{escape(text)}</p>")


def checkout(session: Object, rows: list[Object], refused: str | None) -> str:
    if session["status"] != "open":
        return problem(f"This page is {session['status']}.")
    lines = "".join(
        f"<tr><td>{escape(row['description'])} × {row['quantity']}</td>"
        f"<td>{_money(row['amount_total'], row['currency'])}</td></tr>"
        for row in rows
    )
    cancel = session["cancel_url"]
    back = f'<a href="{escape(cancel)}">Back</a>' if cancel else ""
    return _page(
        "Checkout",
        f"<table>{lines}</table>{_refusal(refused)}"
        f'<form method="post">{_cards()}<br><button>Confirm</button> {back}</form>',
    )


def authenticate(intent: Object) -> str:
    return _page(
        "Your bank asks",
        f"<p>Is it you who uses this card? <small>{escape(intent['id'])}</small></p>"
        '<form method="post"><button name="answer" value="yes">Complete</button>'
        '<button name="answer" value="no">Fail</button></form>',
    )


def portal(
    session: Object, subscriptions: list[Object], bills: list[Object], refused: str | None
) -> str:
    rows = "".join(
        f"<tr><td>{escape(item['price']['lookup_key'] or item['price']['id'])}</td>"
        f"<td>{escape(one['status'])}</td><td>until {_day(item['current_period_end'])}"
        f"{', then ends' if one['cancel_at_period_end'] else ''}</td></tr>"
        for one in subscriptions
        for item in one["items"]["data"]
    )
    invoices = "".join(
        f'<tr><td><a href="{escape(one["hosted_invoice_url"] or "#")}">'
        f"{escape(one['number'] or 'draft')}</a></td><td>{escape(one['status'])}</td>"
        f"<td>{_money(one['amount_due'], one['currency'])}</td></tr>"
        for one in reversed(bills)
    )
    back = session["return_url"]
    link = f'<p><a href="{escape(back)}">Return</a></p>' if back else ""
    return _page(
        "Billing",
        f"<table>{rows}</table>{_refusal(refused)}"
        '<form method="post"><button name="action" value="cancel">Cancel at period end</button>'
        '<button name="action" value="keep">Keep it</button></form>'
        f'<form method="post"><input type="hidden" name="action" value="card">{_cards()}'
        f"<button>Use this card</button></form><table>{invoices}</table>{link}",
    )


def invoice(bill: Object, refused: str | None) -> str:
    pay = f'<form method="post">{_cards()}<button>Pay</button></form>'
    rows = "".join(
        f"<tr><td>{escape(row['description'] or '')}</td>"
        f"<td>{_money(row['amount'], row['currency'])}</td></tr>"
        for row in bill["lines"]["data"]
    )
    return _page(
        f"Invoice {bill['number'] or '(draft)'}: {bill['status']}",
        f"<table>{rows}<tr><td>Due</td><td>{_money(bill['amount_due'], bill['currency'])}</td></tr>"
        f"</table>{_refusal(refused)}{pay if bill['status'] == 'open' else ''}",
    )


def receipt(charge: Object) -> str:
    return _page(
        "Receipt",
        f"<p>{_money(charge['amount'], charge['currency'])} on {_day(charge['created'])}, card"
        f" ending in {escape(charge['payment_method_details']['card']['last4'])}.</p>",
    )


def invoice_pdf(bill: Object) -> bytes:
    """One page of text (ISO 32000-1: header, four objects and a stream, cross references)."""
    rows = [
        f"Invoice {bill['number'] or '(draft)'}",
        f"Date {_day(bill['created'])}   Status {bill['status']}",
        *(
            f"{row['description']}: {_money(row['amount'], row['currency'])}"
            for row in bill["lines"]["data"]
        ),
        f"Due {_money(bill['amount_due'], bill['currency'])}",
    ]
    text = "BT /F1 12 Tf 60 780 Td 18 TL\n" + "".join(f"({_pdf_text(row)}) Tj T*\n" for row in rows)
    stream = f"{text}ET".encode("cp1252", "replace")
    bodies = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R %b >>"
        % b"/Resources << /Font << /F1 5 0 R >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for n, body in enumerate(bodies, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (n, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + (
        b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n"
        b"%%%%EOF\n" % (len(bodies) + 1, table, len(bodies) + 1, len(out))
    )


def _pdf_text(row: str) -> str:
    return row.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
