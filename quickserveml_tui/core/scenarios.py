"""Load scenarios: what is sent at what pace to which target."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.bounds import Bound, parse_bound
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.loads import MAX_REQUESTS
from quickserveml_tui.core.units import plain_number

MAX_RATE = 1_000_000.0
MAX_CONCURRENCY = 4_096
MAX_STEPS = 100
MAX_BODIES = 64


class ScenarioKind(StrEnum):
    """How the load runs."""

    SINGLE = "single"
    """One client, which sends its next request when it has the answer to the one before."""
    CONCURRENCY = "concurrency"
    """As many such clients as `concurrency` says."""
    RATE = "rate"
    """At equal distances."""
    POISSON = "poisson"
    """At random, as independent callers would."""
    BURST = "burst"
    """Many at once, then a pause."""
    RAMP = "ramp"
    """Steps from one rate to another."""
    OFFLINE = "offline"
    """As fast as it goes, with many under way at once."""
    SOAK = "soak"
    """A fixed rate for a long time."""
    STRESS = "stress"
    """Ever faster until the bound breaks."""


OPEN = frozenset(
    {
        ScenarioKind.RATE,
        ScenarioKind.POISSON,
        ScenarioKind.BURST,
        ScenarioKind.RAMP,
        ScenarioKind.SOAK,
        ScenarioKind.STRESS,
    }
)
"""Kinds whose requests are sent at their time, whatever the answers do: latency counts from that time."""
STEPPED = frozenset({ScenarioKind.RAMP, ScenarioKind.STRESS})
"""Kinds whose results have a table of steps."""
DURATIONS_S: Mapping[ScenarioKind, float] = {
    ScenarioKind.SOAK: 3600.0,
    ScenarioKind.STRESS: 3.0,
    ScenarioKind.RAMP: 20.0,
}
"""How long a scenario takes unless something else is asked for, where that is not 10 s; of a step for `stress`."""


class Protocol(StrEnum):
    """How a target is reached."""

    RUNNER = "runner"
    """A model file in processes of this machine."""
    HTTP = "http"
    GRPC = "grpc"


@dataclass(frozen=True, slots=True)
class ScenarioTarget:
    """Where the load goes."""

    address: str
    """A reference or path of a model; or `http://host/v2/models/NAME[/versions/V]`, `grpc://host:port/NAME[/V]`."""
    runners: int = 1
    """Processes that share the load, for a model."""
    encoding: str = "binary"
    """`binary` or `json`, for a server over HTTP."""

    @property
    def protocol(self) -> Protocol:
        """How it is reached."""
        scheme = self.address.partition("://")[0].lower() if "://" in self.address else ""
        if scheme in ("grpc", "grpcs"):
            return Protocol.GRPC
        return Protocol.HTTP if scheme in ("http", "https") else Protocol.RUNNER

    @property
    def is_server(self) -> bool:
        """Whether it is a server."""
        return self.protocol is not Protocol.RUNNER


@dataclass(frozen=True, slots=True)
class ScenarioSpec:
    """What to send, and for how long."""

    target: ScenarioTarget
    kind: ScenarioKind = ScenarioKind.SINGLE
    duration_s: float = 10.0
    """Of the whole, warm-up apart; of a step for `stress`."""
    warmup_s: float = 1.0
    rate_per_s: float | None = None
    """Requests a second: `rate`, `poisson`, `soak`."""
    concurrency: int | None = None
    """Clients of a closed loop; in an open one the most requests under way at once. None takes what suits the kind."""
    requests: int | None = None
    """End after so many."""
    burst_size: int = 10
    burst_gap_s: float = 1.0
    """From the start of a burst to the start of the next."""
    rate_from: float = 10.0
    """First rate of `ramp` and `stress`."""
    rate_to: float | None = None
    """Last rate of `ramp`; where `stress` ends at the latest."""
    steps: int = 10
    """Of `ramp`."""
    factor: float = 1.5
    """By which `stress` raises the rate."""
    refine: int = 3
    """Steps of `stress` between the last good rate and the first bad one, to find the knee more closely."""
    bound: str = ""
    """What must hold, such as `p99_ms < 50 and error_share < 1%`: `stress`, and `ramp` where it is given."""
    timeout_s: float = 30.0
    """How long to wait for an answer."""
    bodies: int = 8
    """Different inputs that are sent in turn."""
    feed: FeedSpec = field(default_factory=FeedSpec)
    seed: int = 0
    """Seed of the schedule."""
    intra_op_threads: int = 1
    inter_op_threads: int = 1
    provider: str = "CPUExecutionProvider"
    optimization: str = "all"
    spinning: bool = False
    verify: bool = True
    """Whether golden outputs of the version are checked first."""

    @property
    def settings(self) -> BenchmarkSpec:
        """Settings of the session, for a model."""
        return BenchmarkSpec(
            intra_op_threads=self.intra_op_threads,
            inter_op_threads=self.inter_op_threads,
            provider=self.provider,
            optimization=self.optimization,
            spinning=self.spinning,
            feed=self.feed,
            verify=self.verify,
        )

    @property
    def parsed_bound(self) -> Bound | None:
        """The bound; None without one. Raises `UsageError`."""
        return parse_bound(self.bound) if self.bound else None

    @property
    def clients(self) -> int:
        """Clients of a closed loop; in an open one the most requests under way at once, all runners together."""
        if self.kind is ScenarioKind.SINGLE:
            return 1
        if self.concurrency is not None:
            return self.concurrency
        if self.kind is ScenarioKind.CONCURRENCY:
            return 4
        if self.kind is ScenarioKind.OFFLINE:
            return 32 if self.target.is_server else self.target.runners
        return 256 if self.target.is_server else self.target.runners

    def validate(self) -> ScenarioSpec:
        """Itself, if every value is in range and fits the kind. Raises `UsageError` (`usage.scenario`) otherwise."""
        self.settings.validate()
        bound = self.parsed_bound
        last = self.rate_from if self.rate_to is None else self.rate_to
        problems = [
            (not self.target.address, "Name a model or the address of a server."),
            (not 1 <= self.target.runners <= 64, "Runners: 1 to 64."),
            (self.target.is_server and self.target.runners != 1, "A server is one target: leave the runners out."),
            (self.target.encoding not in ("binary", "json"), "Tensors go as binary or json."),
            (not 0 < self.duration_s <= 7 * 86_400, "The duration must be over 0 s and at most 7 days."),
            (not 0 <= self.warmup_s <= 3_600, "The warm-up must be between 0 s and 1 h."),
            (
                self.kind in (ScenarioKind.RATE, ScenarioKind.POISSON, ScenarioKind.SOAK) and self.rate_per_s is None,
                f"The scenario {self.kind.value} needs a rate, such as --rate 100.",
            ),
            (self.rate_per_s is not None and not 0.001 <= self.rate_per_s <= MAX_RATE, "Rate: 0.001 to 1,000,000 /s."),
            (not 1 <= self.clients <= MAX_CONCURRENCY, f"Concurrency: 1 to {MAX_CONCURRENCY:,}."),
            (
                not self.target.is_server and self.clients < self.target.runners,
                "Each runner has a thread at least: ask for a concurrency no smaller than the number of runners.",
            ),
            (self.requests is not None and not 1 <= self.requests <= MAX_REQUESTS, f"Requests: 1 to {MAX_REQUESTS:,}."),
            (not 1 <= self.burst_size <= 100_000, "Requests in a burst: 1 to 100,000."),
            (not 0.001 <= self.burst_gap_s <= 86_400, "Bursts are 1 ms to 24 h apart."),
            (not 0.001 <= self.rate_from <= MAX_RATE, "First rate: 0.001 to 1,000,000 /s."),
            (not 0.001 <= last <= MAX_RATE, "Last rate: 0.001 to 1,000,000 /s."),
            (self.kind is ScenarioKind.RAMP and self.rate_to is None, "A ramp needs its last rate: --to 500."),
            (self.kind is ScenarioKind.STRESS and last < self.rate_from, "The last rate lies below the first."),
            (not 2 <= self.steps <= MAX_STEPS, f"Steps: 2 to {MAX_STEPS}."),
            (not 1.01 <= self.factor <= 10, "The rate is raised 1.01 to 10 times."),
            (not 0 <= self.refine <= 20, "Steps to find the knee: 0 to 20."),
            (self.kind is ScenarioKind.STRESS and bound is None, "Stress needs a bound: --bound 'p99_ms < 50'."),
            (not 0.001 <= self.timeout_s <= 3_600, "The time to wait for an answer: 1 ms to 1 h."),
            (not 1 <= self.bodies <= MAX_BODIES, f"Different inputs: 1 to {MAX_BODIES}."),
            (not 0 <= self.seed < 2**32, "Seed: 0 to 4,294,967,295."),
            (self._too_many, f"That is more than {MAX_REQUESTS:,} requests: lower the rate or the duration."),
        ]
        for wrong, hint in problems:
            if wrong:
                raise UsageError("The settings of the scenario are out of range.", hint=hint, code="usage.scenario")
        return self

    @property
    def _too_many(self) -> bool:
        if self.kind in (ScenarioKind.RATE, ScenarioKind.POISSON, ScenarioKind.SOAK):
            return (self.rate_per_s or 0) * self.duration_s > MAX_REQUESTS and self.requests is None
        if self.kind is ScenarioKind.BURST:
            return self.burst_size * self.duration_s / self.burst_gap_s > MAX_REQUESTS
        if self.kind is ScenarioKind.RAMP:
            return (self.rate_from + (self.rate_to or 0)) / 2 * self.duration_s > MAX_REQUESTS
        return False

    def command(self) -> str:
        """The command line that repeats the scenario."""
        default = ScenarioSpec(self.target, self.kind, duration_s=DURATIONS_S.get(self.kind, 10.0))
        stress = self.kind is ScenarioKind.STRESS
        args = ["quickserveml", "stress" if stress else "benchmark", self.target.address]
        if not stress:
            args += ["--scenario", self.kind.value]
        options: list[tuple[str, object, object]] = [
            ("--duration", self.duration_s, default.duration_s),
            ("--warmup", self.warmup_s, default.warmup_s),
            ("--rate", self.rate_per_s, None),
            ("--concurrency", self.concurrency, None),
            ("--runners", self.target.runners, 1),
            ("--encoding", self.target.encoding, "binary"),
            ("--runs", self.requests, None),
            ("--timeout", self.timeout_s, default.timeout_s),
            ("--bodies", self.bodies, default.bodies),
            ("--bound", self.bound, ""),
            ("--schedule-seed", self.seed, 0),
            ("--threads", self.intra_op_threads, 1),
            ("--inter-op-threads", self.inter_op_threads, 1),
            ("--provider", self.provider, default.provider),
            ("--optimization", self.optimization, default.optimization),
        ]
        if self.kind is ScenarioKind.BURST:
            options += [("--burst", self.burst_size, 10), ("--gap", self.burst_gap_s, 1.0)]
        if self.kind in STEPPED:
            options += [("--from", self.rate_from, default.rate_from), ("--to", self.rate_to, None)]
        if self.kind is ScenarioKind.RAMP:
            options.append(("--steps", self.steps, default.steps))
        if stress:
            options += [("--factor", self.factor, default.factor), ("--refine", self.refine, default.refine)]
        timed = {"--duration", "--warmup", "--timeout", "--gap"}
        for name, value, base in options:
            if value != base:
                text = plain_number(value) if isinstance(value, float) else str(value)
                args += [name, f"{text}s" if name in timed else text]
        args += ["--spinning"] * self.spinning + ["--no-verify"] * (not self.verify)
        return shlex.join(args + self.feed.to_args())

    def with_feed(self, feed: FeedSpec) -> ScenarioSpec:
        """The spec with other inputs."""
        return replace(self, feed=feed)
