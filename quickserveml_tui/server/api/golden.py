"""`/models/{id}/versions/{version}/golden`: outputs that a version must give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter
from fastapi import Path as PathParameter
from msgspec import json
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.models import GoldenOutput, ModelRecord
from quickserveml_tui.core.ports import Workbench
from quickserveml_tui.server.api.catalog_calls import (
    NOT_FOUND,
    WRITE_ERRORS,
    CatalogRoute,
    IfMatch,
    ModelId,
    Version,
    catalog_of,
    etag_of,
    expected_rev,
    model_of,
    version_of,
    without_paths,
)
from quickserveml_tui.server.api.catalog_documents import GoldenList, GoldenRequest, GoldenVerdict, VerifyRequest
from quickserveml_tui.server.api.files import Asked, file_answers, file_reply
from quickserveml_tui.server.api.once import ONCE_ERRORS, IdempotencyKey, once
from quickserveml_tui.server.api.uploads import Slots
from quickserveml_tui.server.api.work_calls import read_json, reply
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.openapi import answers, body
from quickserveml_tui.server.permissions import requires

_ALL = "/models/{model_id}/versions/{version}/golden"
_NAME = PathParameter(max_length=200, description="Name of a golden output")


def router(context: ServerContext) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Golden outputs"], route_class=CatalogRoute)
    _add_reading(routes, context)
    slots = Slots()
    _add_writing(routes, context, slots)
    _add_verifying(routes, context, slots)
    return routes


def _add_reading(routes: APIRouter, context: ServerContext) -> None:
    @routes.get(
        _ALL,
        dependencies=requires(Permission.READ),
        responses=answers(GoldenList, errors=NOT_FOUND, headers=["ETag"]),
    )
    def list_golden(request: Request, model_id: ModelId, version: Version) -> Response:
        """The golden outputs of a version, by name."""
        model = model_of(context, request, Permission.READ, model_id)
        _found, ref = version_of(model, version)
        return reply(GoldenList(list(catalog_of(context).golden.list(ref))), 200, {"ETag": etag_of(model)})

    @routes.get(f"{_ALL}/{{name}}/{{side}}", dependencies=requires(Permission.READ), responses=file_answers(NOT_FOUND))
    def get_golden_values(  # noqa: PLR0917 - the parts of a request
        request: Request,
        model_id: ModelId,
        version: Version,
        side: Literal["inputs", "outputs"],
        asked: Asked,
        name: str = _NAME,
    ) -> Response:
        """The inputs or outputs of a golden output, as an NPZ file."""
        model = model_of(context, request, Permission.READ, model_id)
        _found, ref = version_of(model, version)
        stream = catalog_of(context).transfers.open_golden(ref, name, outputs=side == "outputs")
        return file_reply(stream, asked)


def _add_writing(routes: APIRouter, context: ServerContext, slots: Slots) -> None:

    @routes.post(
        _ALL,
        status_code=201,
        dependencies=requires(Permission.WRITE),
        responses=answers(GoldenOutput, 201, text="It is recorded", errors={**WRITE_ERRORS, **ONCE_ERRORS}),
        openapi_extra=body(GoldenRequest, required=False),
    )
    async def record_golden(
        request: Request,
        model_id: ModelId,
        version: Version,
        if_match: IfMatch = "",
        idempotency_key: IdempotencyKey = "",
    ) -> Response:
        """Run a version and keep inputs and outputs."""
        asked = await read_json(request, GoldenRequest, GoldenRequest)

        def record() -> Response:
            model = model_of(context, request, Permission.WRITE, model_id)
            expected_rev(model, if_match)
            _found, ref = version_of(model, version)
            return reply(_recorded(catalog_of(context), ref, asked), 201)

        async def work() -> Response:
            async with slots.upload():
                return await slots.run(record)

        return await once(context, request, idempotency_key, json.encode(asked), work)

    @routes.delete(
        f"{_ALL}/{{name}}",
        status_code=204,
        dependencies=requires(Permission.WRITE),
        responses=answers(None, 204, text="It is gone", errors=WRITE_ERRORS),
    )
    def remove_golden(
        request: Request, model_id: ModelId, version: Version, name: str = _NAME, if_match: IfMatch = ""
    ) -> Response:
        """Take a golden output away."""
        model = model_of(context, request, Permission.WRITE, model_id)
        expected_rev(model, if_match)
        _found, ref = version_of(model, version)
        catalog_of(context).golden.remove(ref, name)
        return Response(status_code=204)


def _recorded(workbench: Workbench, ref: str, asked: GoldenRequest) -> GoldenOutput:
    with workbench.transfers.scratch() as folder:
        return workbench.golden.record(
            ref,
            asked.name,
            inputs=_written(folder / "inputs.json", asked.inputs),
            outputs=_written(folder / "outputs.json", asked.outputs),
            feed=asked.feed,
            rtol=asked.rtol,
            atol=asked.atol,
            notes=asked.notes,
            overwrite=asked.overwrite,
        )


def _written(path: Path, values: dict[str, Any] | None) -> Path | None:
    """A file with these values; None where there are none."""
    if values is None:
        return None
    path.write_bytes(json.encode(values))
    return path


def _add_verifying(routes: APIRouter, context: ServerContext, slots: Slots) -> None:

    @routes.post(
        f"{_ALL}/verify",
        dependencies=requires(Permission.WRITE),
        responses=answers(GoldenVerdict, errors={**NOT_FOUND, **ONCE_ERRORS}),
        openapi_extra=body(VerifyRequest, required=False),
    )
    async def verify_golden(
        request: Request, model_id: ModelId, version: Version, idempotency_key: IdempotencyKey = ""
    ) -> Response:
        """Run golden outputs again and compare."""
        asked = await read_json(request, VerifyRequest, VerifyRequest)

        def verify() -> Response:
            model = model_of(context, request, Permission.WRITE, model_id)
            return reply(_verdict(catalog_of(context), model, version, asked))

        async def work() -> Response:
            async with slots.upload():
                return await slots.run(verify)

        return await once(context, request, idempotency_key, json.encode(asked), work)


def _verdict(workbench: Workbench, model: ModelRecord, version: str, asked: VerifyRequest) -> GoldenVerdict:
    _found, ref = version_of(model, version)
    against = version_of(model, asked.against)[1] if asked.against else ""
    report = workbench.golden.verify(ref, asked.names, against=against)
    checks = [replace(check, reason=without_paths(check.reason)) for check in report.checks]
    return GoldenVerdict(report.ok, report.runtime, checks)
