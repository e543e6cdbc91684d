"""The FastAPI application: everything that is not the hot path, and the same inference routes once more."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from quickserveml_tui import __version__
from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.server import (
    api,
    docs_pages,
    inference_routes,
    info_routes,
    metrics_routes,
    original_routes,
    original_work,
    repository_routes,
)
from quickserveml_tui.server.access import Doorman, OpenGatekeeper, asks_for_keys
from quickserveml_tui.server.answers import Answer, error_answer, is_protocol_path, plain_error
from quickserveml_tui.server.batcher import internal_error
from quickserveml_tui.server.engine import Engine
from quickserveml_tui.server.events import HEAD_ONLY
from quickserveml_tui.server.host_policy import HostPolicy
from quickserveml_tui.server.openapi import complete
from quickserveml_tui.server.permissions import CALLER, neutral, require_declared

if TYPE_CHECKING:
    from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.cross_origin import CrossOrigin

logger = logging.getLogger(__name__)

_DESCRIPTION = """Serves ONNX models.

* **Open Inference Protocol v2** below `/v2`: JSON, binary tensors both ways, raw binary requests; clients of Triton
  and KServe work unchanged.
* **Short form**: `POST /predict` for the default model.
* **Metrics** for Prometheus at `/metrics`.
"""


def to_response(answer: Answer) -> Response:
    """An answer as Starlette sends it."""
    return Response(answer.body, answer.status, answer.headers(), media_type=answer.content_type)


def create_app(engine: Engine, context: ServerContext | None = None) -> FastAPI:
    """The application over an engine; with a context it offers the management API too."""
    app = FastAPI(
        title="QuickServeML",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.include_router(info_routes.router(engine, context))
    app.include_router(metrics_routes.router(engine.serving, context))
    app.include_router(inference_routes.router(engine))
    app.include_router(repository_routes.router(engine, context))
    app.include_router(original_routes.router(engine))
    app.include_router(original_work.router(engine, context))
    gatekeeper = context.gatekeeper if context is not None else OpenGatekeeper()
    app.state.gatekeeper = gatekeeper  # event streams ask again: a key may be revoked meanwhile
    if engine.options.docs:
        permission = Permission.READ if asks_for_keys(engine.options) else Permission.PUBLIC
        app.include_router(docs_pages.router(app.title, "/openapi.json", permission))
    if context is not None:
        api.mount(app, context)
    complete(app)
    _answer_errors(app)
    app.add_middleware(_HeadAsGet)
    app.add_middleware(Doorman, gatekeeper=gatekeeper)
    app.add_middleware(CrossOrigin, policy=HostPolicy(engine.options))
    require_declared(app)
    return app


class _HeadAsGet:
    """Answers HEAD wherever GET is answered; uvicorn leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET", HEAD_ONLY: True}
        await self._app(scope, receive, send)


def _answer_errors(app: FastAPI) -> None:
    async def known(request: Request, error: Exception) -> Response:
        if not isinstance(error, QuickServeError):
            raise error
        error = neutral(error, request.scope.get(CALLER))
        return to_response(error_answer(error, protocol=is_protocol_path(request.url.path)))

    async def http(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        protocol = is_protocol_path(request.url.path)
        path = safe_text(request.url.path, 120)
        if error.status_code == 404:
            answer = plain_error(404, "http.not_found", f"There is nothing at {path}.", "See /docs.", protocol=protocol)
        elif error.status_code == 405:
            detail = f"{path} does not take {safe_text(request.method, 20)}."
            answer = plain_error(405, "http.method", detail, "See /docs.", protocol=protocol)
        else:
            answer = plain_error(error.status_code, "http.error", safe_text(error.detail), "", protocol=protocol)
        response = to_response(answer)
        response.headers.update(error.headers or {})
        return response

    async def invalid(request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        first = error.errors()[0] if error.errors() else {}
        where = ".".join(safe_text(part, 60) for part in first.get("loc", ()))
        detail = f"{where}: {safe_text(first.get('msg', 'is invalid'), 200)}"
        protocol = is_protocol_path(request.url.path)
        return to_response(plain_error(400, "request.invalid", detail, "See /docs.", protocol=protocol))

    async def unexpected(request: Request, error: Exception) -> Response:
        logger.error("A request to %s failed", safe_text(request.url.path, 120), exc_info=error)
        return to_response(error_answer(internal_error(), protocol=is_protocol_path(request.url.path)))

    async def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it: the client left, or was too slow and has its answer

    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(QuickServeError, known)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)
