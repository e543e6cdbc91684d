"""Swagger UI and ReDoc from files on this machine: nothing is loaded from elsewhere."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib import resources
from importlib.util import find_spec

import orjson
from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.server.permissions import requires

_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
    "favicon.png": "image/png",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
_CACHED = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="/docs/assets/favicon.png">
{head}
</head>
<body>
{body}
</body>
</html>
"""


@cache
def _asset(name: str) -> bytes:
    # The package is used for the files it carries; importing it would build nothing we need.
    if find_spec("fastapi_offline") is None:
        raise FileNotFoundError(name)
    return (resources.files("fastapi_offline") / "static" / name).read_bytes()


def router(title: str, openapi_url: str, permission: Permission = Permission.PUBLIC) -> APIRouter:
    """`/docs`, `/redoc`, their files, and the OpenAPI document."""
    routes = APIRouter(include_in_schema=False)
    needed = requires(permission)
    safe_title = escape(title)
    start = (
        b"window.ui = SwaggerUIBundle({url: %b, dom_id: '#ui', deepLinking: true, validatorUrl: null,"
        b" presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset]});"
        % orjson.dumps(openapi_url)
    )
    swagger = _PAGE.format(
        title=safe_title,
        head='<link rel="stylesheet" href="/docs/assets/swagger-ui.css">',
        body='<div id="ui"></div>\n<script src="/docs/assets/swagger-ui-bundle.js"></script>\n'
        '<script src="/docs/assets/start.js"></script>',
    )
    redoc = _PAGE.format(
        title=safe_title,
        head="<style>body{margin:0}</style>",
        body=f'<redoc spec-url="{escape(openapi_url)}"></redoc>\n'
        '<script src="/docs/assets/redoc.standalone.js"></script>',
    )

    @routes.get("/docs", dependencies=needed)
    async def swagger_page() -> Response:
        return HTMLResponse(swagger, headers=_HEADERS)

    @routes.get("/redoc", dependencies=needed)
    async def redoc_page() -> Response:
        return HTMLResponse(redoc, headers=_HEADERS)

    @routes.get("/docs/assets/start.js", dependencies=needed)
    async def start_script() -> Response:
        return Response(start, media_type="text/javascript", headers=_CACHED)

    @routes.get("/docs/assets/{name}", dependencies=needed)
    def asset(name: str) -> Response:
        if name not in _ASSETS:
            raise HTTPException(404)
        return Response(_asset(name), media_type=_ASSETS[name], headers=_CACHED)

    @routes.get(openapi_url, dependencies=needed)
    def openapi(request: Request) -> Response:
        return Response(orjson.dumps(request.app.openapi()), media_type="application/json")

    return routes
