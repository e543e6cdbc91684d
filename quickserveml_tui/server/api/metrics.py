"""`/models/{model_id}/metrics`: how a model is doing, now and over time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.errors import NotFoundError, UsageError
from quickserveml_tui.core.metric_history import STEPS_S, RollUp, quantile
from quickserveml_tui.core.monitoring import Distribution, ModelSnapshot
from quickserveml_tui.server.api.work_calls import find_model, may, reply, workbench_of
from quickserveml_tui.server.context import ServerContext
from quickserveml_tui.server.openapi import answers
from quickserveml_tui.server.permissions import requires, unknown_model
from quickserveml_tui.server.totals import ServerTotals

MAX_POINTS = 10_000
_GOOD_POINTS = 300
_MAX_TIME = 2**40
ModelId = Annotated[str, Path(max_length=200, description="Id or name of a model")]


@dataclass(frozen=True, slots=True)
class VersionMetrics:
    """One version since the start of the server. Times are null without requests."""

    version: str
    state: str
    requests: int
    errors: int
    """Answers other than 2xx."""
    codes: dict[str, int]
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    mean_ms: float | None
    queue_ms: float | None
    """Mean wait."""
    compute_ms: float | None
    """Mean run."""
    batch: float | None
    """Mean requests of a run."""
    inferences: int
    executions: int
    pending: int
    rejected: int
    cache_hits: int
    cache_misses: int


@dataclass(frozen=True, slots=True)
class ModelMetrics:
    """A model since the start of the server, over all workers."""

    model: str
    taken_at: float
    """Unix time."""
    versions: tuple[VersionMetrics, ...]


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """What happened to one version between `at` and `at + step_s`."""

    at: int
    """Unix time."""
    step_s: int
    version: str
    requests: int
    errors: int
    requests_per_s: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    mean_ms: float | None
    queue_ms: float | None
    compute_ms: float | None
    batch: float | None
    inferences: int
    pending: int
    """Most that waited or ran at a full minute."""
    rejected: int
    codes: dict[str, int]


@dataclass(frozen=True, slots=True)
class MetricHistory:
    """Points oldest first; times without requests have none."""

    model: str
    since: int
    until: int
    step_s: int
    points: tuple[MetricPoint, ...]


def router(context: ServerContext) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["Metrics"])
    totals = ServerTotals(context)

    @routes.get(
        "/models/{model_id}/metrics",
        dependencies=requires(Permission.METRICS),
        responses=answers(ModelMetrics, text="Counters since the start", errors={404: "It is not served here"}),
    )
    def model_metrics(request: Request, model_id: ModelId) -> Response:
        """How each served version of a model is doing."""
        name = _name(context, request, model_id)
        found = totals.models(lambda item: item == name)
        if not found:
            raise unknown_model(model_id)
        return reply(ModelMetrics(name, time.time(), tuple(_now(item) for item in found)))

    @routes.get(
        "/models/{model_id}/metrics/history",
        dependencies=requires(Permission.METRICS),
        responses=answers(MetricHistory, text="Figures over time", errors={404: "There is no such model"}),
    )
    def metric_history(
        *,
        request: Request,
        model_id: ModelId,
        since: Annotated[
            int | None, Query(alias="from", ge=0, le=_MAX_TIME, description="Unix time; an hour before `to` by default")
        ] = None,
        until: Annotated[int | None, Query(alias="to", ge=0, le=_MAX_TIME, description="Unix time; else now")] = None,
        step: Annotated[int | None, Query(ge=60, le=86_400, description="Seconds; chosen for about 300 points")] = None,
        version: Annotated[str, Query(max_length=20, description="Only this version")] = "",
    ) -> Response:
        """Figures of a model over time: minutes for a day, ten minutes for a week, then hours for 400 days."""
        name = _name(context, request, model_id)
        end = until if until is not None else int(time.time())
        start = since if since is not None else max(end - 3600, 0)
        step_s = _step(start, end, step)
        found = workbench_of(context).metric_history.read(name, version=version, since=start, until=end, step_s=step_s)
        return reply(MetricHistory(name, start, end, step_s, tuple(_point(item) for item in found[-MAX_POINTS:])))

    return routes


def _step(start: int, end: int, asked: int | None) -> int:
    if end <= start:
        raise UsageError("The time ends before it begins.", hint="`from` must lie before `to`.", code="usage.time")
    shortest = max(asked or 0, STEPS_S[0], -(-(end - start) // (MAX_POINTS if asked else _GOOD_POINTS)))
    return -(-shortest // STEPS_S[0]) * STEPS_S[0]


def _name(context: ServerContext, request: Request, model_id: str) -> str:
    """The name of the model with this id or name, registered or only served."""
    if any(item.name == model_id for item in context.serving.models):
        if not may(request, Permission.METRICS, model_id):
            raise unknown_model(model_id)
        return model_id
    if context.workbench is None:
        raise unknown_model(model_id)
    try:
        return find_model(context, request, Permission.METRICS, model_id).name
    except NotFoundError:
        raise unknown_model(model_id) from None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 6)


def _mean(total: float, count: int) -> float | None:
    return total / count if count else None


def _percentile(distribution: Distribution, share: float) -> float | None:
    return _ms(quantile(distribution.bounds, distribution.counts, share))


def _now(model: ModelSnapshot) -> VersionMetrics:
    requests = sum(model.codes.values())
    return VersionMetrics(
        version=model.version,
        state=model.state,
        requests=requests,
        errors=requests - sum(count for code, count in model.codes.items() if code.startswith("2")),
        codes=model.codes,
        p50_ms=_percentile(model.latency, 0.5),
        p95_ms=_percentile(model.latency, 0.95),
        p99_ms=_percentile(model.latency, 0.99),
        mean_ms=_ms(_mean(model.latency.total, model.latency.count)),
        queue_ms=_ms(_mean(model.queue.total, model.queue.count)),
        compute_ms=_ms(_mean(model.compute.total, model.compute.count)),
        batch=_mean(model.batch.total, model.batch.count),
        inferences=model.inferences,
        executions=model.executions,
        pending=model.pending,
        rejected=model.rejected,
        cache_hits=model.cache_hits,
        cache_misses=model.cache_misses,
    )


def _point(item: RollUp) -> MetricPoint:
    return MetricPoint(
        at=item.at,
        step_s=item.step_s,
        version=item.version,
        requests=item.requests,
        errors=item.errors,
        requests_per_s=item.requests / item.step_s,
        p50_ms=_ms(item.percentile(0.5)),
        p95_ms=_ms(item.percentile(0.95)),
        p99_ms=_ms(item.percentile(0.99)),
        mean_ms=_ms(_mean(item.latency_s, sum(item.latency.values()))),
        queue_ms=_ms(_mean(item.queue_s, item.queued)),
        compute_ms=_ms(_mean(item.compute_s, item.computed)),
        batch=_mean(item.computed, item.executions),
        inferences=item.inferences,
        pending=item.pending,
        rejected=item.rejected,
        codes=item.codes,
    )
