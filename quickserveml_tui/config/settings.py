"""Every setting with its default. Defaults cost no validation library; see `config.load` for values from outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Interval, Len

_RULES: dict[str, Any] = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True)
class BenchmarkSettings:
    """What a benchmark takes where its options do not say otherwise."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _RULES

    duration_s: Annotated[float, Interval(ge=0.01, le=86_400)] = 10.0
    """How long to measure, in seconds."""
    warmup_s: Annotated[float, Interval(ge=0, le=3_600)] = 1.0
    """Longest time spent warming up, in seconds."""
    threads: Annotated[int, Interval(ge=1, le=1024)] = 1
    """Intra-op threads of the runtime."""


@dataclass(frozen=True)
class BatchSettings:
    """What a batch run takes where its options do not say otherwise."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _RULES

    size: Annotated[int, Interval(ge=1, le=1_000_000)] = 32
    """Rows given to the model at once."""


@dataclass(frozen=True)
class ServeSettings:
    """What the server takes where its options do not say otherwise."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _RULES

    host: Annotated[str, Len(1, 255)] = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Interval(ge=0, le=65_535)] = 8000
    """Port to listen on; 0 takes a free one."""
    threads: Annotated[int, Interval(ge=1, le=1024)] = 1
    """Intra-op threads of each model."""
    queue_limit: Annotated[int, Interval(ge=1, le=1_000_000)] = 1024
    """Requests that may wait for one model; beyond it they are refused with 503."""
    max_body_mb: Annotated[int, Interval(ge=1, le=2048)] = 64
    """Largest request body in MiB."""
    workers: Annotated[int, Interval(ge=1, le=256)] = 1
    """Processes that answer requests, each with sessions and limits of its own."""
    request_timeout_s: Annotated[float, Interval(ge=0.001, le=86_400)] = 60.0
    """Longest time that a request may wait before it runs."""
    cache_mb: Annotated[int, Interval(ge=0, le=1_000_000)] = 0
    """Memory of each worker for answers to equal requests, in MiB; 0 keeps none."""
    follow: bool = True
    """Take up new versions and moved aliases while serving."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """Form of the logs; `auto` is text on a terminal, JSON elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level of what is logged; no level logs every request."""


@dataclass(frozen=True)
class StorageSettings:
    """How long and how much the stores keep; `gc` takes the rest."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _RULES

    cache_gb: Annotated[float, Interval(ge=0, le=1_000_000)] = 20.0
    """What models put together in the cache may take, in GB; those used longest ago go first."""
    gc_grace: Annotated[float, Interval(ge=0, le=87_600)] = 24.0
    """Age from which files that nothing needs are collected, in hours."""
    trash_days: Annotated[float, Interval(ge=0, le=36_500)] = 30.0
    """Days after which deleted models and versions are forgotten for good."""
    keep_runs: Annotated[int, Interval(ge=1, le=1_000_000)] = 1_000
    """Runs of each version that are kept whatever their age."""
    keep_days: Annotated[float, Interval(ge=0, le=36_500)] = 365.0
    """Days after which further runs, batch results and ended jobs are removed."""


@dataclass(frozen=True)
class TrialSettings:
    """What a model may take while it is tried in a process of its own."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _RULES

    timeout_s: Annotated[float, Interval(ge=1, le=86_400)] = 30.0
    """Time for loading and one run of a small model, in seconds; each GB of files adds 20, and 10,000 nodes add 1."""
    memory: Annotated[float, Interval(ge=0, le=1_000_000)] = 0.0
    """Memory that a model may take in any run but a server's, in GB.

    0 takes 4 GB and 4 times its files, at most 80 % of the machine.
    """


@dataclass(frozen=True)
class Settings:
    """Settings of every front."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _RULES

    home: Annotated[str, Len(0, 4096)] = ""
    """Folder with catalog, results and logs; empty takes the platform's data folder.

    In a file, a relative path starts at the file's folder.
    """
    read_only: bool = False
    """Open the home read-only: nothing in it is changed."""
    theme: Literal["", "dark", "light", "contrast"] = ""
    """Colours of the workbench: `dark`, `light` or `contrast`; empty takes what was used last."""
    ascii: bool | None = None
    """Draw the workbench with ASCII characters only; unset decides by the terminal's encoding."""
    mouse: bool = True
    """Let the workbench take the mouse; switch it off to select text with the terminal's own means."""
    benchmark: BenchmarkSettings = field(default_factory=BenchmarkSettings)
    """Defaults of `benchmark`."""
    batch: BatchSettings = field(default_factory=BatchSettings)
    """Defaults of `batch`."""
    serve: ServeSettings = field(default_factory=ServeSettings)
    """Defaults of `serve`."""
    storage: StorageSettings = field(default_factory=StorageSettings)
    """What the stores keep."""
    trial: TrialSettings = field(default_factory=TrialSettings)
    """What a model may take while it is tried."""
    keys: dict[str, str] = field(default_factory=dict)
    """Keys of the workbench by the id of their binding, such as `"benchmark.run_model" = "f5"`."""
