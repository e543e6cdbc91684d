"""`/jobs`: work in processes of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.errors import ConflictError, NotFoundError
from quickserveml_tui.core.job_records import JobKind, JobRecord, JobRequest
from quickserveml_tui.core.jobs import JobState
from quickserveml_tui.core.ports import JobsPort
from quickserveml_tui.server.api.once import ONCE_ERRORS, IdempotencyKey, once
from quickserveml_tui.server.api.paging import page
from quickserveml_tui.server.api.work_calls import (
    ALL,
    Limit,
    PageToken,
    find_model,
    may,
    read_json,
    ref_to,
    reply,
    workbench_of,
)
from quickserveml_tui.server.api.work_documents import JobDocument, JobPage, job_document, model_name, shown_progress
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.events import MEDIA_TYPE, Streams, event
from quickserveml_tui.server.openapi import answers, body
from quickserveml_tui.server.permissions import requires
from quickserveml_tui.services.job_folders import no_such_job

_POLL_S = 0.2
_RECORD_EVERY = 3
"""Polls of what a job says between two looks at its record."""
_EVENT_ID = re.compile(r"([0-9]{1,9})-([0-9]{1,15})", re.ASCII)
JobId = Annotated[str, Path(max_length=64)]
_NOT_FOUND = {404: "There is no such job, or none that this key may see"}


@dataclass(frozen=True, slots=True)
class NewJob:
    """Work to start. Batches bring data: they are started with `POST /models/{id}/batches`."""

    ref: str
    """`name`, `name@version`, `name@label` or `name@alias` of a model of the catalog."""
    kind: Literal["benchmark"] = "benchmark"
    benchmark: BenchmarkSpec | None = None


def find_job(context: ServerContext, request: Request, job_id: str, permission: Permission) -> JobRecord:
    """The job. Raises `NotFoundError` (`job.not_found`), also for one about a model that the caller may not reach."""
    record = workbench_of(context).jobs.get(job_id)
    if not may(request, permission, model_name(record.request.ref)):
        raise no_such_job(job_id)
    return record


def router(context: ServerContext) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Jobs"])
    _add_list(routes, context)
    _add_start(routes, context)
    _add_one(routes, context)
    _add_events(routes, context)
    return routes


def _add_list(routes: APIRouter, context: ServerContext) -> None:
    @routes.get("/jobs", dependencies=requires(Permission.READ), responses=answers(JobPage, text="Jobs, newest first"))
    def list_jobs(
        request: Request,
        state: Annotated[list[JobState] | None, Query(description="Only jobs of these states")] = None,
        limit: Limit = 100,
        page_token: PageToken = "",
    ) -> Response:
        """Jobs of this home, newest first."""
        found = workbench_of(context).jobs.list(states=state or (), limit=ALL)
        visible = [item for item in found if may(request, Permission.READ, model_name(item.request.ref))]
        chosen, token = page(visible, lambda item: (item.created_at, item.id), limit, page_token, request.url.path)
        return reply(JobPage(tuple(job_document(item) for item in chosen), token))

    @routes.delete("/jobs", dependencies=requires(Permission.WRITE), responses=answers(Forgotten, text="What went"))
    def forget_jobs(request: Request) -> Response:
        """Forget all jobs that have ended, with their logs; their results stay."""
        jobs = workbench_of(context).jobs
        ended = [
            item.id
            for item in jobs.list(limit=ALL)
            if not item.live and may(request, Permission.WRITE, model_name(item.request.ref))
        ]
        return reply(Forgotten(jobs.clean(ended) if ended else ()))


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Jobs that were forgotten."""

    ids: tuple[str, ...]


def _add_start(routes: APIRouter, context: ServerContext) -> None:
    @routes.post(
        "/jobs",
        status_code=202,
        dependencies=requires(Permission.WRITE),
        responses=answers(
            JobDocument,
            202,
            text="It is recorded and its process lives",
            headers=("Location",),
            errors=ONCE_ERRORS | {404: "There is no such model or version", 409: "The version fails a golden output"},
        ),
        openapi_extra=body(NewJob, example={"ref": "resnet@prod", "benchmark": {"duration_s": 10}}),
    )
    async def start_job(request: Request, idempotency_key: IdempotencyKey = "") -> Response:
        """Start a benchmark in a process of its own."""
        wanted = await read_json(request, NewJob)

        async def work() -> Response:
            return await _start(context, request, wanted)

        return await once(context, request, idempotency_key, msgspec.json.encode(wanted), work)


async def _start(context: ServerContext, request: Request, wanted: NewJob) -> Response:
    name, _, selector = wanted.ref.partition("@")
    model = await asyncio.to_thread(find_model, context, request, Permission.WRITE, name)
    ref = ref_to(model, selector)
    job = JobRequest(JobKind.BENCHMARK, ref, benchmark=wanted.benchmark or BenchmarkSpec(), origin="server")
    record = await asyncio.to_thread(workbench_of(context).jobs.start, job)
    return reply(job_document(record), 202, {"Location": f"/api/v1/jobs/{record.id}"})


def _add_one(routes: APIRouter, context: ServerContext) -> None:
    @routes.get(
        "/jobs/{job_id}",
        dependencies=requires(Permission.READ),
        responses=answers(JobDocument, text="The job", errors=_NOT_FOUND),
    )
    def show_job(request: Request, job_id: JobId) -> Response:
        """One job."""
        return reply(job_document(find_job(context, request, job_id, Permission.READ)))

    @routes.delete(
        "/jobs/{job_id}",
        dependencies=requires(Permission.WRITE),
        responses=answers(
            JobDocument,
            text="It ended before: it is forgotten",
            errors=_NOT_FOUND | {409: "It ended, or was begun anew, in this moment"},
        )
        | answers(JobDocument, 202, text="It is asked to stop; what it has is kept"),
    )
    def stop_job(request: Request, job_id: JobId) -> Response:
        """Ask a job to stop, or forget one that has ended; its result stays."""
        jobs = workbench_of(context).jobs
        record = find_job(context, request, job_id, Permission.WRITE)
        if record.live:
            try:
                return reply(job_document(jobs.cancel(job_id)), 202)
            except ConflictError as error:
                if error.code != "job.ended":
                    raise
                record = jobs.get(job_id)
        jobs.clean([job_id])
        return reply(job_document(record))


def _add_events(routes: APIRouter, context: ServerContext) -> None:
    streams = Streams(lambda: context.serving.draining)

    @routes.get(
        "/jobs/{job_id}/events",
        dependencies=requires(Permission.READ),
        responses=answers(
            text="`progress`, `frame`, then `end` with the job; comments in between",
            media_type=MEDIA_TYPE,
            errors=_NOT_FOUND,
        ),
        openapi_extra={
            "parameters": [
                {
                    "name": "Last-Event-ID",
                    "in": "header",
                    "required": False,
                    "description": "`id` of the last event that was seen: the stream goes on behind it",
                    "schema": {"type": "string", "maxLength": 64},
                }
            ]
        },
    )
    async def follow_job(request: Request, job_id: JobId) -> Response:
        """Follow a job as server-sent events."""
        record = await asyncio.to_thread(find_job, context, request, job_id, Permission.READ)
        start = request.headers.get("last-event-id", "")
        return streams.response(request, _events(context, record, start))


def _offset(record: JobRecord, last_event_id: str) -> int:
    found = _EVENT_ID.fullmatch(last_event_id)
    # Offsets go on over attempts: behind an event of an earlier one, all of the newest one is still to come.
    return int(found[2]) if found and int(found[1]) <= record.attempt else 0


def _look_again(jobs: JobsPort, record: JobRecord) -> JobRecord:
    """The job as it is now; as it was where it has been forgotten meanwhile."""
    try:
        return jobs.get(record.id)
    except NotFoundError:
        return record


async def _events(context: ServerContext, record: JobRecord, last_event_id: str) -> AsyncIterator[bytes]:
    jobs = workbench_of(context).jobs
    offset, looks = _offset(record, last_event_id), 0
    while True:
        said = await asyncio.to_thread(jobs.events, record.id, offset)
        number = f"{record.attempt}-{said.offset}"
        for index, frame in enumerate(said.frames, 1):
            is_last = index == len(said.frames) and said.progress is None
            yield event("frame", msgspec.to_builtins(frame), number if is_last else "")
        if said.progress is not None:
            document = msgspec.to_builtins(shown_progress(said.progress)) | {"fraction": said.progress.fraction}
            yield event("progress", document, number)
        if said.offset != offset:
            offset = said.offset
            continue
        if not record.live:
            # What is known of the job is older than the events: it may have been begun anew in between.
            newest = await asyncio.to_thread(_look_again, jobs, record)
            if newest != record:
                record = newest
                continue
            yield event("end", msgspec.to_builtins(job_document(record)), number)
            return
        looks += 1
        if looks % _RECORD_EVERY == 0:
            record = await asyncio.to_thread(jobs.get, record.id)
        await asyncio.sleep(_POLL_S)
