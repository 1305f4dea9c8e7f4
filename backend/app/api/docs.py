"""/docs: the API's documentation, with its own files, so that it needs no other host."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

ASSETS = "/docs/assets"

router = APIRouter()


def mount(app: FastAPI) -> None:
    """Serve Swagger UI's files out of the package that brings them."""
    app.mount(ASSETS, StaticFiles(packages=[("fastapi_offline", "static")]), name="docs-assets")


@router.get("/docs", include_in_schema=False)
def docs() -> HTMLResponse:
    """The page a developer tries the API on."""
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="InboxGrove API",
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
        swagger_ui_parameters={"docExpansion": "none", "persistAuthorization": True},
    )
