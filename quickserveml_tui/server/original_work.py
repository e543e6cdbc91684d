"""`/model/benchmark` and `/model/batch`: measure the default model, and run many rows through it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.benchmarks import BenchmarkRun, BenchmarkSpec, BenchmarkSummary
from quickserveml_tui.core.errors import DataError, QuickServeError, UnavailableError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.ports import Workbench
from quickserveml_tui.server.answers import Answer, error_answer
from quickserveml_tui.server.api.json_bodies import check_fields
from quickserveml_tui.server.api.work_calls import read_json, reply
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.dialects import SHORT_FORM
from quickserveml_tui.server.engine import Engine
from quickserveml_tui.server.inference_routes import WaitingJob
from quickserveml_tui.server.openapi import answers, body
from quickserveml_tui.server.permissions import requires
from quickserveml_tui.services.serving_models import ServedModel
from quickserveml_tui.wire.encodings import decompress
from quickserveml_tui.wire.oip_documents import parse_document

MAX_SECONDS = 60.0
MAX_ROWS = 1_000
_AT_ONCE = 64
"""Rows of one request that wait or run at once."""
_LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class QuickBenchmark:
    """How to measure the default model."""

    duration_s: float = 5.0
    """More than 0, at most 60 with the warm-up."""
    runs: int | None = None
    """End after so many inferences."""
    warmup_s: float = 0.5
    threads: int = 1
    batch: int | None = None
    """Rows of each inference, where their number is free."""

    def spec(self) -> BenchmarkSpec:
        """What the runner measures. Raises `UsageError` (`usage.benchmark`)."""
        found = BenchmarkSpec(
            duration_s=self.duration_s,
            max_runs=self.runs,
            warmup_s=self.warmup_s,
            intra_op_threads=self.threads,
            feed=FeedSpec(batch=self.batch),
            verify=False,  # its golden outputs were checked before it was served
        ).validate()
        if self.duration_s + self.warmup_s > MAX_SECONDS:
            raise UsageError(
                "The benchmark takes too long for one request.",
                hint="At most 60 s with the warm-up; POST /api/v1/models/{id}/benchmarks starts a longer one as a job.",
                code="usage.benchmark",
            )
        return found


@dataclass(frozen=True, slots=True)
class QuickBenchmarkResult:
    """What was measured, in a process of its own."""

    model: str
    version: str
    summary: BenchmarkSummary
    spec: BenchmarkSpec


@dataclass(frozen=True, slots=True)
class RowError:
    """Why a row has no outputs."""

    code: str
    detail: str
    hint: str


@dataclass(frozen=True, slots=True)
class RowResult:
    """One row: its outputs by name, or why there are none."""

    row: int
    """From 1."""
    outputs: dict[str, Any] | None = None
    error: RowError | None = None


@dataclass(frozen=True, slots=True)
class RowsResult:
    """All rows, in their order."""

    model: str
    version: str
    rows: int
    failed: int
    elapsed_ms: float
    results: tuple[RowResult, ...]


def router(engine: Engine, context: ServerContext | None) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Short form"])
    serving = engine.serving
    measure = _Measure(lambda: serving.draining, context.workbench if context is not None else None)

    @routes.post(
        "/model/benchmark",
        dependencies=requires(Permission.WRITE, of=lambda: serving.default().name),
        responses=answers(QuickBenchmarkResult, text="What was measured", errors={404: "No model is served"}),
        openapi_extra=body(QuickBenchmark, required=False, example={"duration_s": 0.2, "warmup_s": 0.1}),
    )
    async def benchmark(request: Request) -> Response:
        """Measure the default model with made-up inputs in a process of its own; nothing is saved."""
        wanted = await read_json(request, QuickBenchmark, QuickBenchmark)
        model = serving.default()
        run = await measure(request, model, wanted.spec())
        return reply(QuickBenchmarkResult(model.name, model.version, run.summary, run.spec))

    @routes.post(
        "/model/batch",
        dependencies=requires(Permission.INFER, of=lambda: serving.default().name),
        responses=answers(RowsResult, text="A result for every row", errors={404: "No model is served"}),
        openapi_extra=_BATCH_BODY,
    )
    async def batch(request: Request) -> Response:
        """Run up to 1,000 rows through the default model; a row that does not fit gets an error of its own."""
        encoding = request.headers.get("content-encoding", "")
        data = decompress(await request.body(), encoding, engine.options.max_body_bytes)
        model, started = serving.default(), time.perf_counter()
        results = await _run_rows(engine, model, _rows(data))
        failed = sum(item.error is not None for item in results)
        elapsed_ms = round((time.perf_counter() - started) * 1e3, 3)
        return reply(RowsResult(model.name, model.version, len(results), failed, elapsed_ms, tuple(results)))

    return routes


_ROWS = {"type": "array", "items": {}, "maxItems": MAX_ROWS, "minItems": 1}
_ROWS_OBJECT = {
    "type": "object",
    "required": ["rows"],
    "properties": {"rows": _ROWS},
    "additionalProperties": False,
}
_BATCH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "Rows, each in any form that /predict takes",
        "content": {
            "application/json": {
                "schema": {"anyOf": [_ROWS, _ROWS_OBJECT]},
            }
        },
    }
}


# ---- rows -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rows:
    """The body of `/model/batch` as an object."""

    rows: list[Any]


def _rows(data: bytes) -> list[Any]:
    document = parse_document(data)
    rows = document.get("rows") if isinstance(document, dict) else document
    if isinstance(document, dict) and isinstance(rows, list):
        check_fields(document, _Rows)
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_ROWS:
        raise DataError(
            f"The body must be a list of 1 to {MAX_ROWS:,} rows.",
            hint='Send [row, …] or {"rows": [row, …]}, each row as /predict takes it; '
            "larger data goes to POST /api/v1/models/{id}/batches.",
            code="request.invalid",
        )
    return rows


async def _run_rows(engine: Engine, model: ServedModel, rows: list[Any]) -> list[RowResult]:
    loop = asyncio.get_running_loop()
    results: list[RowResult] = []
    for start in range(0, len(rows), _AT_ONCE):
        answers = []
        for row in rows[start : start + _AT_ONCE]:
            job = WaitingJob(model, SHORT_FORM, loop.create_future())
            try:
                job.accept(SHORT_FORM.decode(model, orjson.dumps(row), None))
            except QuickServeError as error:
                job.finish(error_answer(error, protocol=False))
            else:
                engine.batcher(model).submit(job)
            answers.append(job.answer)
        finished = await asyncio.gather(*answers)
        results += (_result(start + at, answer) for at, answer in enumerate(finished, 1))
    return results


def _result(row: int, answer: Answer) -> RowResult:
    document = orjson.loads(answer.body)
    if answer.status == 200:
        return RowResult(row, document["outputs"])
    return RowResult(row, error=RowError(document["code"], document["detail"], document["hint"]))


# ---- measuring ------------------------------------------------------------------------------------------------------


class _Measure:
    """Measures one model at a time: two would disturb each other."""

    def __init__(self, draining: Callable[[], bool], workbench: Workbench | None) -> None:
        self._draining = draining
        self._workbench = workbench
        self._is_busy = False

    async def __call__(self, request: Request, model: ServedModel, spec: BenchmarkSpec) -> BenchmarkRun:
        """The measurement; it ends early when the client goes. Raises `UnavailableError` (`benchmark.busy`)."""
        if self._is_busy:
            raise UnavailableError(
                "Another benchmark runs on this server.",
                hint="Try again when it is over; two at once would disturb each other.",
                code="benchmark.busy",
            )
        self._is_busy = True
        token = CancelToken()
        work = asyncio.ensure_future(asyncio.to_thread(self._run, model, spec, token))
        try:
            while not (await asyncio.wait((work,), timeout=_LOOK_S))[0]:
                if self._draining() or await request.is_disconnected():
                    token.cancel()
            return work.result()
        finally:
            token.cancel()
            work.add_done_callback(self._over)

    def _over(self, _work: asyncio.Future[BenchmarkRun]) -> None:
        self._is_busy = False

    def _run(self, model: ServedModel, spec: BenchmarkSpec, token: CancelToken) -> BenchmarkRun:
        entry = model.entry
        if self._workbench is not None:
            ref = f"{entry.name}@{entry.version}" if entry.registered else entry.path
            return self._workbench.benchmark.run(ref, spec, cancel=token, save=False)
        from quickserveml_tui.services.home import LocalWorkbench

        with tempfile.TemporaryDirectory() as folder:  # a home that nothing is written to
            workbench = LocalWorkbench(Path(folder), read_only=True)
            try:
                return workbench.benchmark.run(entry.path, spec, cancel=token, save=False)
            finally:
                workbench.close()
