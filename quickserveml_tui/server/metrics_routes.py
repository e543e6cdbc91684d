"""`/metrics` for Prometheus."""

from __future__ import annotations

import os
import time

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.monitoring import ServerSnapshot, WorkerSnapshot
from quickserveml_tui.server.access import visible
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.exposition import MEDIA_TYPE
from quickserveml_tui.server.metrics import JobCounts, ModelFacts, Scrape, exposition
from quickserveml_tui.server.permissions import CALLER, requires
from quickserveml_tui.server.totals import Sees, ServerTotals
from quickserveml_tui.services.machine import memory
from quickserveml_tui.services.serving import ServingService
from quickserveml_tui.services.serving_totals import crashes, usage

_STARTED_S = time.time()


def router(serving: ServingService, context: ServerContext | None = None) -> APIRouter:
    """The route; without a context it tells of this process only."""
    routes = APIRouter(tags=["Health"])
    totals = ServerTotals(context) if context is not None else None
    jobs = JobCounts(context.workbench if context is not None else None)

    @routes.get(
        "/metrics",
        dependencies=requires(Permission.METRICS),
        responses={200: {"description": "Metrics", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}},
    )
    def metrics(request: Request) -> Response:  # a plain function: Starlette runs it in a thread, away from the loop
        """Metrics of all workers in Prometheus' text format."""

        def sees(name: str) -> bool:
            return visible(request.scope.get(CALLER), name, Permission.METRICS)

        scrape = _own(serving, sees) if totals is None else _all(totals, jobs, sees)
        return Response(exposition(scrape), headers={"Content-Type": MEDIA_TYPE})

    return routes


def _all(totals: ServerTotals, jobs: JobCounts, sees: Sees) -> Scrape:
    context = totals.context
    versions = {(item.name, item.version): item for item in totals.versions()}
    facts = [
        ModelFacts(
            model.name,
            model.version,
            model.digest,
            model.traits.batchable,
            crashes(versions[model.entry.key], context.counters) if model.entry.key in versions else 0,
        )
        for model in context.serving.models
        if sees(model.name)
    ]
    return Scrape(
        totals.snapshot(sees),
        facts,
        jobs.get(),
        sum(item.auth_failures for item in context.counters),
        sum(item.log_drops for item in context.counters),
        context.started_at,
        tuple(item for item in context.control.crashes() if not item.model or sees(item.model)),
    )


def _own(serving: ServingService, sees: Sees) -> Scrape:
    models = [model for model in serving.models if sees(model.name)]
    cpu_s, rss_bytes = usage(os.getpid())
    total, available = memory()
    server = ServerSnapshot(
        taken_at=time.time(),
        ready=serving.ready,
        memory_total_bytes=total,
        memory_available_bytes=available,
        models=tuple(model.stats.snapshot(model.name, model.version) for model in models),
        workers=(WorkerSnapshot(0, os.getpid(), serving.ready, cpu_s=cpu_s, rss_bytes=rss_bytes),),
    )
    facts = [ModelFacts(model.name, model.version, model.digest, model.traits.batchable) for model in models]
    return Scrape(server, facts, started_at=_STARTED_S)
