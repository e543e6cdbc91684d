"""The canonical digest of what a home holds: equal for equal content, wherever and however it is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import orjson

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.job_records import JobRecord
from quickserveml_tui.core.jobs import JobState
from quickserveml_tui.core.models import ModelRecord, TrashEntry, VersionRecord
from quickserveml_tui.core.predictions import BatchResult
from quickserveml_tui.core.results import LabResult
from quickserveml_tui.core.stores import RegistryStore, StateStore

ENDED = (JobState.DONE, JobState.CANCELLED, JobState.FAILED)
"""Jobs that count: what waits, runs or was lost still changes by itself."""
Row: TypeAlias = BenchmarkRun | BatchResult | JobRecord | LabResult


class HomeRegistry(RegistryStore, Protocol):
    """A registry whose file can be read and replaced as a whole."""

    def file_bytes(self) -> tuple[bytes | None, str]:
        """The file as it is, and its generation."""
        ...

    def replacing(self) -> AbstractContextManager[Callable[[Path | None], None]]:
        """Hold off writers; what is yielded puts another file in its place."""
        ...


class HomeState(StateStore, Protocol):
    """A state database that can be read and replaced as a whole."""

    def all_rows(self) -> Iterator[Row]:
        """Every run, result and job."""
        ...

    def replacing(self) -> AbstractContextManager[Callable[[Path], None]]:
        """Hold off writers; what is yielded puts another file in its place."""
        ...


class ContentDigest:
    """Collects records in any order."""

    def __init__(self) -> None:
        self._lines: set[str] = set()
        self.blobs: dict[str, str] = {}
        """What first needs each blob, for people: `name@version`, or a benchmark's id."""
        self.sizes: dict[str, int] = {}
        """Size in bytes of blobs, where a record tells."""
        self.models = 0
        self.versions = 0
        self.linked = 0
        """Files that are referenced in place."""
        self.runs = 0

    @property
    def count(self) -> int:
        """Records taken in."""
        return len(self._lines)

    def add_models(self, models: Iterable[ModelRecord], trash: Iterable[TrashEntry]) -> None:
        """Take in what the registry holds."""
        for model in models:
            self._add("model", model)
            self._add_versions(model.name, model.versions)
            self.models += 1
            self.versions += len(model.versions)
        for entry in trash:
            self._add("trash", entry)
            self._add_versions(entry.name, entry.versions)

    def _add_versions(self, name: str, versions: Iterable[VersionRecord]) -> None:
        for version in versions:
            for digest in version.blobs:
                self.blobs.setdefault(digest, f"{name}@{version.version}")
            for file in version.artifact.files:
                self.linked += file.link is not None
                self.sizes[file.digest] = file.size_bytes

    def add_rows(self, rows: Iterable[Row]) -> None:
        """Take in what the state database holds."""
        for row in rows:
            if isinstance(row, BenchmarkRun):
                self.runs += 1
                self._add("run", row)
                if row.samples_digest:
                    self.blobs.setdefault(row.samples_digest, row.id)
            elif isinstance(row, BatchResult):
                self._add("batch", row)
            elif isinstance(row, LabResult):
                self._add("result", {**_plain_parts(row), "body": orjson.loads(row.body)})
                for digest in row.digests:
                    self.blobs.setdefault(digest, row.id)
            elif row.state in ENDED:
                self._add("job", row)

    def _add(self, kind: str, record: object) -> None:
        document = orjson.dumps(canonical(record), option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
        self._lines.add(f"{kind} {hashlib.sha256(document).hexdigest()}")

    def hexdigest(self) -> str:
        """sha256 over the sorted digests of all records and of all blobs that they need."""
        lines = sorted(self._lines | {f"blob {digest}" for digest in self.blobs})
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _plain_parts(row: LabResult) -> dict[str, Any]:
    return {"id": row.id, "kind": row.kind, "created_at": row.created_at, "model": row.model, "version": row.version}


def digest_of(registry: RegistryStore, state: HomeState) -> ContentDigest:
    """What the stores hold now. Raises `StoreError`."""
    found = ContentDigest()
    found.add_models(registry.models(), registry.trash())
    found.add_rows(state.all_rows())
    return found


def canonical(value: Any) -> Any:
    """A record as plain values, without fields that hold their default: a field added later changes no digest."""
    if is_dataclass(value):
        return dict(_filled(value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [canonical(item) for item in value]
    return value


def _filled(record: Any) -> Iterator[tuple[str, Any]]:
    for name, default in _defaults(record.__class__):
        value = getattr(record, name)
        if default is MISSING or value != default:
            yield name, canonical(value)


@cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    found = []
    for field in fields(kind):
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        found.append((field.name, default))
    return tuple(found)
