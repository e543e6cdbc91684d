"""Inference off the hot path: chunked, compressed, percent-encoded or HTTP/1.0 requests; same codecs, same queues."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.errors import DataError, NotFoundError
from quickserveml_tui.server import schemas
from quickserveml_tui.server.answers import Answer
from quickserveml_tui.server.compression import compress, wanted_coding
from quickserveml_tui.server.dialects import INFERENCE_PROTOCOL, SHORT_FORM, Dialect
from quickserveml_tui.server.engine import Engine
from quickserveml_tui.server.permissions import CALLER, refusal, requires
from quickserveml_tui.server.runs import Job
from quickserveml_tui.services.serving_models import ServedModel
from quickserveml_tui.wire.encodings import decompress


class WaitingJob(Job):
    """A request whose route waits for the answer."""

    __slots__ = ("answer",)

    def __init__(self, model: ServedModel, dialect: Dialect, answer: asyncio.Future[Answer]) -> None:
        super().__init__(model, dialect)
        self.answer = answer

    def deliver(self, answer: Answer) -> None:
        """Wake the route, unless its client went away."""
        if not self.answer.done():
            self.answer.set_result(answer)


def _json_length(request: Request) -> int | None:
    text = request.headers.get("inference-header-content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise DataError("Inference-Header-Content-Length must be a whole number.", code="request.length")
    return int(text)


async def _infer(engine: Engine, find: Callable[[], ServedModel], dialect: Dialect, request: Request) -> Response:
    length = _json_length(request)
    found = find()
    error = refusal(request.scope.get(CALLER), Permission.INFER, found.name)
    if error is not None:  # what the path means has changed since its permission was looked at
        raise error
    batcher = engine.batcher(found)
    batcher.expect()
    try:
        body = await request.body()
        job = _submit(engine, _now(find, found), dialect, request, (body, length))
    finally:
        batcher.expected()
    answer = await job.answer
    body, headers = answer.body, answer.headers()
    coding = wanted_coding(request.headers.get("accept-encoding", ""))
    if coding and answer.status == 200:
        body = await compress(body, coding)
        headers |= {"Content-Encoding": coding, "Vary": "Accept-Encoding"}
    return Response(body, answer.status, headers, media_type=answer.content_type)


def _now(find: Callable[[], ServedModel], found: ServedModel) -> ServedModel:
    """What a path means once the body is here; what it meant before, if that is gone or is another model."""
    try:
        model = find()
    except NotFoundError:
        return found
    return model if model.name == found.name else found


def _submit(
    engine: Engine, model: ServedModel, dialect: Dialect, request: Request, sent: tuple[bytes, int | None]
) -> WaitingJob:
    body = decompress(sent[0], request.headers.get("content-encoding", ""), engine.options.max_body_bytes)
    length = sent[1]
    job = WaitingJob(model, dialect, asyncio.get_running_loop().create_future())
    try:
        job.accept(dialect.decode(model, body, length))
    except DataError as error:
        job.finish(dialect.error(error))
    else:
        engine.batcher(model).submit(job)
    return job


def router(engine: Engine) -> APIRouter:
    """The inference routes."""
    routes = APIRouter(tags=["Inference"])
    errors: dict[int | str, dict[str, Any]] = schemas.PROTOCOL_ERRORS

    @routes.post(
        "/v2/models/{model}/infer",
        openapi_extra=schemas.infer_body(engine.serving),
        responses=errors,
        dependencies=requires(Permission.INFER, model="model"),
    )
    async def infer(model: str, request: Request) -> Response:
        """Infer with the newest version of a model."""
        return await _infer(engine, lambda: engine.serving.find(model), INFERENCE_PROTOCOL, request)

    @routes.post(
        "/v2/models/{model}/versions/{version}/infer",
        openapi_extra=schemas.infer_body(engine.serving),
        responses=errors,
        dependencies=requires(Permission.INFER, model="model"),
    )
    async def infer_version(model: str, version: str, request: Request) -> Response:
        """Infer with one version, named by number, label or alias."""
        return await _infer(engine, lambda: engine.serving.find(model, version), INFERENCE_PROTOCOL, request)

    @routes.post(
        "/predict",
        openapi_extra=schemas.predict_body(engine.serving),
        responses=schemas.PROBLEMS,
        tags=["Short form"],
        dependencies=requires(Permission.INFER, of=lambda: engine.serving.default().name),
    )
    async def predict(request: Request) -> Response:
        """Infer with the default model: plain JSON in and out."""
        return await _infer(engine, engine.serving.default, SHORT_FORM, request)

    return routes
