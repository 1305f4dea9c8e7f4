"""/docs: the API's documentation, with its own files, so that it needs no other host."""

from __future__ import annotations

import base64
import hashlib

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

ASSETS = "/docs/assets"

router = APIRouter()


def mount(app: FastAPI) -> None:
    """Serve Swagger UI's files out of the package that brings them."""
    app.mount(ASSETS, StaticFiles(packages=[("fastapi_offline", "static")]), name="docs-assets")


def _page() -> tuple[str, str]:
    """The page and its policy."""
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="InboxGrove API",
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
        swagger_ui_parameters={"docExpansion": "none", "persistAuthorization": False},
    )
    html = bytes(page.body).decode()
    # The one script in the page is allowed by its hash, so that no other can be put there.
    return html, (
        f"default-src 'none'; script-src 'self' {_hashes(html)};"
        " style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hashes(html: str) -> str:
    scripts = [part.partition("</script>")[0] for part in html.split("<script>")[1:]]
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


_HTML, _POLICY = _page()


@router.get("/docs", include_in_schema=False)
def docs() -> HTMLResponse:
    """The page a developer tries the API on."""
    return HTMLResponse(_HTML, headers={"Content-Security-Policy": _POLICY})
