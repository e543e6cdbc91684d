"""Watches servers: ours in full, others by their metrics or the statistics of the inference protocol."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import msgspec

from quickserveml_tui.client.http import MIB, HttpAnswer, HttpClient
from quickserveml_tui.client.monitor_metrics import Metrics, read_metrics
from quickserveml_tui.client.monitor_statistics import read_statistics
from quickserveml_tui.client.replies import failed, wrong_answer
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.monitoring import Distribution, ModelSnapshot, MonitorSource, ServerSnapshot
from quickserveml_tui.core.text import safe_text

TIMEOUT_S = 10.0
MAX_BYTES = 16 * MIB
MIN_INTERVAL_S, MAX_INTERVAL_S = 0.1, 3600.0
_ABSENT = (404, 405, 501)
_MAX_CODES = 600


class MonitorClient:
    """`MonitorPort` over HTTP; safe to use from several threads."""

    def snapshot(self, url: str, *, key: str = "") -> ServerSnapshot:
        """The server now.

        Raises `UnavailableError` (`server.unreachable`, `server.answer`), `NotPermittedError` (`server.refused`) and
        `UsageError` (`usage.url`).
        """
        with _Watcher(url, key) as watcher:
            return watcher.snapshot()

    def watch(
        self, url: str, *, key: str = "", interval_s: float = 1.0, cancel: CancelToken | None = None
    ) -> Iterator[ServerSnapshot]:
        """Snapshots, one per interval (0.1 s to 1 h), until cancelled; what `snapshot` raises ends it.

        The next one is due an interval after the one before was asked for; those that a slow server misses are left
        out.
        """
        if not MIN_INTERVAL_S <= interval_s <= MAX_INTERVAL_S:
            raise UsageError("The interval is out of range.", hint="Give one from 100ms to 1h.", code="usage.interval")
        token = cancel or CancelToken()
        with _Watcher(url, key) as watcher:
            due = time.monotonic()
            while not token.cancelled:
                yield watcher.snapshot(token)
                now = time.monotonic()
                due += interval_s * max(1, math.ceil((now - due) / interval_s))
                token.wait(due - now)


class _Watcher:
    """One server, over one connection; remembers what kind it found."""

    def __init__(self, url: str, key: str) -> None:
        self._http = HttpClient(url, key=key, timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES)
        self._url = self._http.url
        self._is_ours: bool | None = None
        self._named: tuple[str, str] | None = None

    def __enter__(self) -> _Watcher:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._http.close()

    def snapshot(self, cancel: CancelToken | None = None) -> ServerSnapshot:
        if self._is_ours is not False:
            answer = self._http.get("/api/v1/monitor", cancel=cancel)
            if answer.status == 200 and answer.is_json:
                self._is_ours = True
                return self._read_ours(answer)
            if self._is_ours or (answer.status not in _ABSENT and answer.status >= 400):
                raise failed(self._url, answer.status, answer.body)
            self._is_ours = False
        return self._read_others(cancel)

    # ---- ours ------------------------------------------------------------------------------------------------------

    def _read_ours(self, answer: HttpAnswer) -> ServerSnapshot:
        try:
            found = msgspec.json.decode(answer.body, type=ServerSnapshot)
            return _cleaned(found, self._url)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise wrong_answer(self._url, "sent a snapshot that cannot be read", str(error)) from error

    # ---- others ----------------------------------------------------------------------------------------------------

    def _read_others(self, cancel: CancelToken | None) -> ServerSnapshot:
        metrics = self._metrics(cancel)
        taken_at = time.time()
        if metrics is None:
            models = self._statistics(cancel)
            if models is None:
                raise wrong_answer(self._url, "has neither metrics nor statistics of models")
            metrics = Metrics(MonitorSource.PROTOCOL, models)
        name, version = self._metadata(cancel)
        return ServerSnapshot(
            taken_at=taken_at,
            source=metrics.source,
            name=name,
            version=version or metrics.version,
            url=self._url,
            uptime_s=max(taken_at - metrics.started_at, 0.0) if metrics.started_at else 0.0,
            ready=self._is_ready(cancel),
            cpu_percent=metrics.cpu_percent,
            memory_total_bytes=metrics.memory_total_bytes,
            memory_available_bytes=metrics.memory_available_bytes,
            models=metrics.models,
            workers=metrics.workers,
            gpus=metrics.gpus,
        )

    def _metrics(self, cancel: CancelToken | None) -> Metrics | None:
        """What the metrics say; None where there are none, or none of a server for models."""
        answer = self._http.get("/metrics", cancel=cancel)
        if answer.status in _ABSENT or (answer.status == 200 and answer.is_json):
            return None
        if answer.status != 200:
            raise failed(self._url, answer.status, answer.body)
        try:
            return read_metrics(answer.body.decode())
        except ValueError as error:
            raise wrong_answer(self._url, "sent metrics that cannot be read", str(error)) from error

    def _statistics(self, cancel: CancelToken | None) -> tuple[ModelSnapshot, ...] | None:
        answer = self._http.get("/v2/models/stats", cancel=cancel)
        if answer.status != 200:
            if answer.status in _ABSENT or answer.status == 400:
                return None
            raise failed(self._url, answer.status, answer.body)
        try:
            return read_statistics(answer.body)
        except ValueError as error:
            raise wrong_answer(self._url, "sent statistics that cannot be read", str(error)) from error

    def _metadata(self, cancel: CancelToken | None) -> tuple[str, str]:
        """Name and version that the server calls itself by, asked for once; empty where it does not say."""
        if self._named is None:
            answer = self._http.get("/v2", cancel=cancel)
            self._named = "", ""
            if answer.status == 200 and answer.is_json:
                try:
                    said = msgspec.json.decode(answer.body)
                except (msgspec.DecodeError, RecursionError) as error:
                    raise wrong_answer(self._url, "sent metadata that cannot be read", str(error)) from error
                if isinstance(said, dict):
                    self._named = safe_text(said.get("name", ""), 80), safe_text(said.get("version", ""), 80)
        return self._named

    def _is_ready(self, cancel: CancelToken | None) -> bool:
        """Whether it says so; a port for metrics alone has no such route, and answering is all it can do."""
        answer = self._http.get("/v2/health/ready", cancel=cancel)
        return answer.status == 200 or answer.status in _ABSENT


def _cleaned(found: ServerSnapshot, url: str) -> ServerSnapshot:
    """A snapshot with texts that can be shown. Raises `ValueError` for numbers that cannot be."""
    numbers = [found.taken_at, found.uptime_s, *(item.cpu_s for item in found.workers)]
    numbers += [part for item in found.slow for part in (item.at, item.elapsed_s, item.queue_s, item.compute_s)]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError("a time that is none")
    return replace(
        found,
        url=url,
        source=MonitorSource.OURS,
        name=safe_text(found.name, 80),
        version=safe_text(found.version, 80),
        models=tuple(_cleaned_model(model) for model in found.models),
        slow=tuple(
            replace(
                item,
                model=safe_text(item.model, 200),
                version=safe_text(item.version, 80),
                request_id=safe_text(item.request_id, 200),
            )
            for item in found.slow
        ),
        gpus=tuple(replace(item, name=safe_text(item.name, 80)) for item in found.gpus),
    )


def _cleaned_model(model: ModelSnapshot) -> ModelSnapshot:
    if len(model.codes) > _MAX_CODES or min([*model.codes.values(), model.inferences, model.pending]) < 0:
        raise ValueError("a count that is none")
    for distribution in (model.latency, model.queue, model.compute, model.batch):
        _check(distribution)
    return replace(
        model,
        name=safe_text(model.name, 200),
        version=safe_text(model.version, 80),
        state=safe_text(model.state, 40),
        codes={safe_text(code, 8): count for code, count in model.codes.items()},
    )


def _check(distribution: Distribution) -> None:
    bounds, counts = distribution.bounds, distribution.counts
    if not counts and not bounds:
        return
    if len(counts) != len(bounds) + 1 or min(counts) < 0 or not math.isfinite(distribution.total):
        raise ValueError("a histogram that is not complete")
    if any(low >= high for low, high in pairwise(bounds)) or not all(map(math.isfinite, bounds)):
        raise ValueError("a histogram with bounds that do not rise")
