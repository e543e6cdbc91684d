"""`/models/{model_id}/benchmarks`: measure a model and look at what was measured."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.benchmarks import BenchmarkRun, BenchmarkSpec
from quickserveml_tui.core.errors import NotFoundError
from quickserveml_tui.core.job_records import JobKind, JobRequest
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.server.api.once import ONCE_ERRORS, IdempotencyKey, once
from quickserveml_tui.server.api.paging import page
from quickserveml_tui.server.api.work_calls import (
    ALL,
    Limit,
    PageToken,
    find_model,
    read_json,
    ref_to,
    reply,
    workbench_of,
)
from quickserveml_tui.server.api.work_documents import (
    BenchmarkDocument,
    BenchmarkPage,
    Started,
    benchmark_document,
    job_document,
)
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.openapi import answers, body
from quickserveml_tui.server.permissions import requires
from quickserveml_tui.services.job_outcome import result_id_of

ModelId = Annotated[str, Path(max_length=200, description="Id or name of a model")]
_BenchmarkId = Annotated[str, Path(max_length=64)]
_NOT_FOUND = {404: "There is no such model or benchmark"}


@dataclass(frozen=True, slots=True)
class NewBenchmark:
    """What to measure."""

    version: str = ""
    """Number, label or alias; empty takes the latest."""
    spec: BenchmarkSpec = field(default_factory=BenchmarkSpec)


def router(context: ServerContext) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Benchmarks"])
    _add_all(routes, context)
    _add_one(routes, context)
    return routes


def _add_all(routes: APIRouter, context: ServerContext) -> None:
    @routes.get(
        "/models/{model_id}/benchmarks",
        dependencies=requires(Permission.READ),
        responses=answers(BenchmarkPage, text="Benchmarks, newest first", errors=_NOT_FOUND),
    )
    def list_benchmarks(
        request: Request, model_id: ModelId, limit: Limit = 100, page_token: PageToken = ""
    ) -> Response:
        """Saved benchmarks of a model, newest first."""
        model = find_model(context, request, Permission.READ, model_id)
        runs = workbench_of(context).benchmark.history(model.name, limit=ALL)
        chosen, token = page(runs, lambda run: (run.created_at, run.id), limit, page_token, request.url.path)
        return reply(BenchmarkPage(tuple(benchmark_document(run) for run in chosen), token))

    @routes.post(
        "/models/{model_id}/benchmarks",
        status_code=202,
        dependencies=requires(Permission.WRITE),
        responses=answers(
            Started,
            202,
            text="A job measures it; Location names the job",
            headers=("Location",),
            errors=ONCE_ERRORS | {404: "There is no such model or version", 409: "The version fails a golden output"},
        ),
        openapi_extra=body(NewBenchmark, required=False, example={"version": "prod", "spec": {"duration_s": 10}}),
    )
    async def start_benchmark(request: Request, model_id: ModelId, idempotency_key: IdempotencyKey = "") -> Response:
        """Measure a version in a process of its own."""
        model = await asyncio.to_thread(find_model, context, request, Permission.WRITE, model_id)
        wanted = await read_json(request, NewBenchmark, NewBenchmark)

        async def work() -> Response:
            job = JobRequest(JobKind.BENCHMARK, ref_to(model, wanted.version), benchmark=wanted.spec, origin="server")
            record = await asyncio.to_thread(workbench_of(context).jobs.start, job)
            document = Started(job_document(record), result_id_of(record))
            return reply(document, 202, {"Location": f"/api/v1/jobs/{record.id}"})

        return await once(context, request, idempotency_key, msgspec.json.encode(wanted), work)


def _add_one(routes: APIRouter, context: ServerContext) -> None:
    def find(request: Request, permission: Permission, model_id: str, benchmark_id: str) -> BenchmarkRun:
        model = find_model(context, request, permission, model_id)
        run = workbench_of(context).benchmark.get(benchmark_id)
        if run.model != model.id:
            raise NotFoundError(
                f"{model.name} has no benchmark “{safe_text(benchmark_id, 60)}”.",
                hint="GET /api/v1/models/{model_id}/benchmarks lists them.",
                code="benchmark.not_found",
            )
        return run

    @routes.get(
        "/models/{model_id}/benchmarks/{benchmark_id}",
        dependencies=requires(Permission.READ),
        responses=answers(BenchmarkDocument, text="The benchmark", errors=_NOT_FOUND),
    )
    def show_benchmark(request: Request, model_id: ModelId, benchmark_id: _BenchmarkId) -> Response:
        """One benchmark."""
        return reply(benchmark_document(find(request, Permission.READ, model_id, benchmark_id)))

    @routes.delete(
        "/models/{model_id}/benchmarks/{benchmark_id}",
        status_code=204,
        dependencies=requires(Permission.WRITE),
        responses=answers(status=204, text="It is forgotten", errors=_NOT_FOUND),
    )
    def forget_benchmark(request: Request, model_id: ModelId, benchmark_id: _BenchmarkId) -> Response:
        """Forget a benchmark."""
        workbench_of(context).benchmark.delete(find(request, Permission.WRITE, model_id, benchmark_id).id)
        return Response(status_code=204)
