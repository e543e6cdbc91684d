"""`/models/{model_id}/batches` and `/batches/{id}`: run data sets that are uploaded."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.errors import DataError, NotFoundError
from quickserveml_tui.core.predictions import BatchSpec
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.server.api.files import Asked, file_answers, file_reply
from quickserveml_tui.server.api.once import ONCE_ERRORS, IdempotencyKey, once
from quickserveml_tui.server.api.paging import page
from quickserveml_tui.server.api.work_calls import Limit, PageToken, find_model, may, ref_to, reply, workbench_of
from quickserveml_tui.server.api.work_documents import (
    BatchDocument,
    BatchPage,
    Started,
    batch_document,
    batch_of_job,
    job_document,
    model_name,
)
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.openapi import answers
from quickserveml_tui.server.permissions import requires
from quickserveml_tui.services.batch_uploads import FoundBatch, UploadedBatches
from quickserveml_tui.services.job_outcome import result_id_of
from quickserveml_tui.storage.uploads import Upload

ModelId = Annotated[str, Path(max_length=200, description="Id or name of a model")]
_BatchId = Annotated[str, Path(max_length=64)]
_LINES = "application/jsonl"
_ID = re.compile(r"batch-[0-9a-f]{12}", re.ASCII)
_NOT_FOUND = {404: "There is no such batch, or none that this key may see"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The data: a table with a header line, or arrays by input name",
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def router(context: ServerContext) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Batches"])
    _add_list(routes, context)
    _add_start(routes, context)
    _add_one(routes, context)
    return routes


def _batches(context: ServerContext) -> UploadedBatches:
    workbench = workbench_of(context)
    return UploadedBatches(workbench.home, workbench.jobs, workbench.batch)


def _document(batches: UploadedBatches, found: FoundBatch) -> BatchDocument:
    if found.result is None:
        assert found.job is not None
        return batch_of_job(found.job)
    has_output = batches.has_output(found)
    return batch_document(found.result, has_output=has_output, job_id=found.job.id if found.job else None)


def _add_list(routes: APIRouter, context: ServerContext) -> None:
    @routes.get(
        "/models/{model_id}/batches",
        dependencies=requires(Permission.READ),
        responses=answers(BatchPage, text="Batches, newest first", errors={404: "There is no such model"}),
    )
    def list_batches(request: Request, model_id: ModelId, limit: Limit = 100, page_token: PageToken = "") -> Response:
        """Batches of a model, newest first."""
        model = find_model(context, request, Permission.READ, model_id)
        batches = _batches(context)
        mine = [item for item in batches.list() if model_name(item.ref) == model.name]
        chosen, token = page(mine, lambda item: (item.created_at, item.id), limit, page_token, request.url.path)
        return reply(BatchPage(tuple(_document(batches, item) for item in chosen), token))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """How a batch is to be run."""

    form: str
    version: str
    spec: BatchSpec
    with_output: bool


async def _wanted(  # noqa: PLR0917 - the fields of a form
    form: Annotated[Literal["csv", "tsv", "npz"], Query(alias="format", description="Form of the data")] = "csv",
    version: Annotated[str, Query(max_length=128, description="Number, label or alias; empty takes the latest")] = "",
    batch_size: Annotated[int, Query(ge=1, le=1_000_000)] = 32,
    target: Annotated[str, Query(max_length=200, description="Column or array with the ground truth")] = "",
    threads: Annotated[int, Query(ge=1, le=1024)] = 1,
    verify: Annotated[bool, Query(description="Check golden outputs first")] = True,
    output: Annotated[bool, Query(description="Keep the predictions for download")] = True,
) -> _Wanted:
    spec = BatchSpec(batch_size, target, intra_op_threads=threads, verify=verify).validate()
    return _Wanted(form, version, spec, output)


def _add_start(routes: APIRouter, context: ServerContext) -> None:
    @routes.post(
        "/models/{model_id}/batches",
        status_code=202,
        dependencies=requires(Permission.WRITE),
        responses=answers(
            Started,
            202,
            text="A job runs it; Location names the job",
            headers=("Location",),
            errors=ONCE_ERRORS | {404: "There is no such model or version", 409: "The version fails a golden output"},
        ),
        openapi_extra=_BODY,
    )
    async def start_batch(
        request: Request,
        model_id: ModelId,
        wanted: Annotated[_Wanted, Depends(_wanted)],
        idempotency_key: IdempotencyKey = "",
    ) -> Response:
        """Upload a data set and run it through a version in a process of its own."""
        model = await asyncio.to_thread(find_model, context, request, Permission.WRITE, model_id)
        ref, batches = ref_to(model, wanted.version), _batches(context)
        upload = await asyncio.to_thread(batches.begin, f"data.{wanted.form}", context.options.max_upload_bytes)

        async def work() -> Response:
            record = await asyncio.to_thread(batches.start, ref, upload, wanted.spec, with_output=wanted.with_output)
            document = Started(job_document(record), result_id_of(record))
            return reply(document, 202, {"Location": f"/api/v1/jobs/{record.id}"})

        try:
            digest = await _receive(request, upload)
            return await once(context, request, idempotency_key, digest, work)
        finally:
            upload.close()


async def _receive(request: Request, upload: Upload) -> bytes:
    """Write the body to disk; its SHA-256. Raises `DataError` (`data.empty`, `upload.too_large`)."""
    seen = hashlib.sha256()
    async for part in request.stream():
        if part:
            seen.update(part)
            await asyncio.to_thread(upload.write, part)
    if not upload.size:
        raise DataError("The body is empty.", hint="Send the data as the body.", code="data.empty")
    return seen.digest()


def _add_one(routes: APIRouter, context: ServerContext) -> None:
    def find(request: Request, permission: Permission, batch_id: str) -> FoundBatch:
        found = _batches(context).find(batch_id) if _ID.fullmatch(batch_id) else None
        if found is None or not may(request, permission, model_name(found.ref)):
            raise NotFoundError(
                f"There is no batch “{safe_text(batch_id, 60)}”.",
                hint="GET /api/v1/models/{model_id}/batches lists them.",
                code="batch.not_found",
            )
        return found

    @routes.get(
        "/batches/{batch_id}",
        dependencies=requires(Permission.READ),
        responses=answers(BatchDocument, text="The batch", errors=_NOT_FOUND),
    )
    def show_batch(request: Request, batch_id: _BatchId) -> Response:
        """One batch: its state, and its figures once it has ended."""
        return reply(_document(_batches(context), find(request, Permission.READ, batch_id)))

    @routes.get(
        "/batches/{batch_id}/output",
        dependencies=requires(Permission.READ),
        responses=file_answers(
            {404: "There is no such batch, or it keeps no predictions here"}, _LINES, "A line of JSON for each row"
        ),
    )
    def download_output(request: Request, batch_id: _BatchId, asked: Asked) -> Response:
        """Download the predictions of a batch."""
        stream = _batches(context).open_output(find(request, Permission.READ, batch_id))
        if stream is None:
            raise NotFoundError(
                f"The batch {batch_id} has no predictions to download.",
                hint="They are there once it has ended, if it was started with output=true.",
                code="batch.no_output",
            )
        return file_reply(stream, asked, _LINES)

    @routes.delete(
        "/batches/{batch_id}",
        status_code=204,
        dependencies=requires(Permission.WRITE),
        responses=answers(status=204, text="It is forgotten", errors=_NOT_FOUND | {409: "It has not ended"}),
    )
    def forget_batch(request: Request, batch_id: _BatchId) -> Response:
        """Forget a batch that has ended, with its data and predictions."""
        _batches(context).delete(find(request, Permission.WRITE, batch_id))
        return Response(status_code=204)
