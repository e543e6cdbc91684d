"""What a server is asked to serve, and what came of looking at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from quickserveml_tui.core.catalog import Resolved
from quickserveml_tui.core.errors import NotFoundError, UsageError
from quickserveml_tui.core.refs import PathRef, name_from_path, parse_ref
from quickserveml_tui.core.serving import ServedEntry, ServedSettings, ServedStatus
from quickserveml_tui.core.text import safe_text


class Source(StrEnum):
    """Where a model comes from."""

    FILE = "file"
    CATALOG = "catalog"
    REPOSITORY = "repository"
    """A folder in Triton's layout."""


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which versions of a model are served: those that `only` names, all of them, or the newest `latest`."""

    only: tuple[str, ...] = ()
    """Numbers, labels or aliases; an alias is followed wherever it moves."""
    every: bool = False
    latest: int = 1
    prefer: str = ""
    """An alias that comes before the newest, where the model has it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One model that is to be served."""

    name: str
    """Name that it is served by."""
    ref: str
    """What people wrote to get it."""
    source: Source
    path: str = ""
    """The file, or the model's folder in a repository."""
    policy: VersionPolicy = field(default_factory=VersionPolicy)
    settings: ServedSettings = field(default_factory=ServedSettings)
    optional: bool = False
    """Whether the server starts without it where it cannot be served."""
    problem: str = ""
    """Why what it asks for cannot be read; what was served of it before stays."""


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """What a server is to serve."""

    wanted: tuple[Wanted, ...] = ()
    every: bool = False
    """Also all models of the catalog that run."""
    repository: str = ""
    """Also all models of this folder."""
    default: tuple[str, str] | None = None
    """Name and version (empty: the one that unversioned requests get) behind the short routes."""
    settings: ServedSettings = field(default_factory=ServedSettings)
    """Of models that have none of their own."""
    isolate: frozenset[str] = frozenset()
    """Models that run in a process of their own each."""
    without: frozenset[tuple[str, str]] = frozenset()
    """Versions that were unloaded; an empty version is all of a model."""

    @property
    def may_be_empty(self) -> bool:
        """Whether a server with this plan is ready while it serves nothing: it waits for models to come."""
        return self.every or bool(self.repository)

    def settings_of(self, name: str) -> ServedSettings:
        """Settings of a model that has none of its own."""
        return self.isolated(name, self.settings)

    def isolated(self, name: str, settings: ServedSettings) -> ServedSettings:
        """The settings, with `isolate` where that was asked for the model."""
        return replace(settings, isolate=True) if name in self.isolate else settings

    def with_loaded(self, name: str, versions: Sequence[str], source: Source, path: str = "") -> ServingPlan:
        """The plan with a model in it: these versions, or what its policy says."""
        kept = tuple(item for item in self.wanted if item.name != name)
        mine = [item for item in self.wanted if item.name == name]
        without = frozenset(item for item in self.without if item[0] != name)
        is_file = bool(mine) and mine[0].source is Source.FILE
        if mine and (not versions or (is_file and set(versions) == {"1"})):
            return replace(self, without=without)
        if is_file:
            raise NotFoundError(
                f"{safe_text(name, 80)} is a file: it has version 1 alone.",
                hint="Add it to the catalog to have versions of it.",
                code="version.unknown",
            )
        before = tuple(dict.fromkeys(selector for item in mine for selector in item.policy.only))
        policy = VersionPolicy(only=tuple(dict.fromkeys((*before, *versions)))) if versions else PROD_FIRST
        if versions and not mine and self.covers(source):
            policy = VersionPolicy(only=tuple(versions))
        new = Wanted(name, name, source, path, policy, mine[0].settings if mine else self.settings_of(name))
        return replace(self, wanted=(*kept, new), without=without)

    def covers(self, source: Source) -> bool:
        """Whether all models of a source are served anyway."""
        return (source is Source.CATALOG and self.every) or (source is Source.REPOSITORY and bool(self.repository))

    def without_version(self, name: str, version: str) -> ServingPlan:
        """The plan without a version, or with an empty one without the whole model."""
        wanted = self.wanted if version else tuple(item for item in self.wanted if item.name != name)
        return replace(self, wanted=wanted, without=self.without | {(name, version)})


PROD_FIRST = VersionPolicy(prefer="prod")
"""What is served of a model of which no more is said: its `prod` version, else the newest that runs."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is there to serve by a plan. Entries have no rows of the counters yet."""

    entries: tuple[ServedEntry, ...] = ()
    held: tuple[Resolved, ...] = ()
    """What the entries were resolved to, for leases on their files."""
    refused: tuple[ServedStatus, ...] = ()
    """What is wanted and cannot be served, with the reason."""


class ModelSource(Protocol):
    """Finds what a plan stands for. Its calls block, and are made one at a time."""

    def look(self, plan: ServingPlan, *, strict: bool = False, again: str = "") -> Look:
        """What is there now; every new version was tried in a runner and gives its golden outputs.

        With `strict` the first version that cannot be served raises its error. `again` names a model of which nothing
        that was found out before counts.
        """
        ...

    def has_changed(self) -> bool:
        """Whether there may be something new since the last look; cheap."""
        ...

    def find(self, plan: ServingPlan, name: str) -> tuple[Source, str]:
        """Where a model that is to be loaded comes from, and its path there. Raises `NotFoundError`."""
        ...

    def quarantine(self, entry: ServedEntry, signal: str, reason: str) -> None:
        """Never offer a version again that ended the worker which loaded it."""
        ...

    def hold(self, held: Sequence[Resolved]) -> None:
        """Keep these files from being collected, and no others."""
        ...

    def close(self) -> None:
        """Let everything go."""
        ...


def wanted_of(ref: str, settings: ServedSettings) -> Wanted:
    """What a path or a reference on the command line asks for. Raises `UsageError`."""
    parsed = parse_ref(ref)
    if isinstance(parsed, PathRef):
        return Wanted(name_from_path(parsed.path), ref, Source.FILE, str(parsed.path), settings=settings)
    if parsed.node is not None:
        raise UsageError(
            f"“{safe_text(ref, 80)}” names a node.", hint="Name a model or a version.", code="reference.invalid"
        )
    policy = VersionPolicy(only=(parsed.selector,)) if parsed.selector else VersionPolicy()
    return Wanted(parsed.name, ref, Source.CATALOG, policy=policy, settings=settings)


def entry_of(resolved: Resolved, wanted: Wanted) -> ServedEntry:
    """The entry of a resolved version; files that are not registered are version 1 of their name."""
    model, version = resolved.model, resolved.version
    if model is None or version is None:
        return ServedEntry(
            name=wanted.name or name_from_path(Path(resolved.path)),
            version="1",
            path=str(Path(resolved.path).absolute()),
            digest=resolved.digest,
            slot=-1,
            ref=wanted.ref,
            settings=wanted.settings,
        )
    return ServedEntry(
        name=model.name,
        version=str(version.version),
        path=str(Path(resolved.path).absolute()),
        digest=version.artifact.digest,
        slot=-1,
        ref=wanted.ref,
        label=version.label,
        aliases=model.aliases_of(version.version),
        settings=wanted.settings,
        task=model.task,
        description=model.description,
        tags=model.tags,
        registered=True,
    )


def check_duplicates(entries: Sequence[ServedEntry]) -> tuple[ServedEntry, ...]:
    """The entries, each version once. Raises `UsageError` (`serve.duplicate`) where two files would be one version."""
    found: dict[tuple[str, str], ServedEntry] = {}
    for entry in entries:
        other = found.setdefault(entry.key, entry)
        if other is not entry and not (other.registered and entry.registered):
            raise UsageError(
                f"Two models would be served as {entry.name} version {entry.version}.",
                hint="Add them to the registry as different models or versions, or rename a file.",
                code="serve.duplicate",
            )
    return tuple(found.values())


def check_default(look: Look, plan: ServingPlan) -> None:
    """Raise `NotFoundError` when the default of a plan is not among what is served."""
    if plan.default is None:
        return
    name, version = plan.default
    mine = [entry for entry in look.entries if entry.name == name]
    if not mine:
        near = get_close_matches(name[:128], [entry.name for entry in look.entries], n=1)
        raise NotFoundError(
            f"Unknown model: the default, “{safe_text(name, 80)}”, is not served.",
            hint=f"Did you mean {near[0]}?" if near else "Name one of the models.",
            code="model.unknown",
        )
    if version and version not in {text for entry in mine for text in (entry.version, entry.label, *entry.aliases)}:
        raise NotFoundError(
            f"Model {name} has no version “{safe_text(version, 80)}” here.",
            hint=f"Versions: {', '.join(entry.version for entry in mine)}.",
            code="version.unknown",
        )


class FixedModels:
    """`ModelSource` of models that were resolved and tried before, and never change."""

    def __init__(self, models: Sequence[Resolved]) -> None:
        self._models = {_wanted(item).ref: item for item in models}

    @staticmethod
    def plan(models: Sequence[Resolved], settings: ServedSettings, default: str = "") -> ServingPlan:
        """The plan that asks for them."""
        wanted = tuple(replace(_wanted(item), settings=settings) for item in models)
        name, _, version = default.partition("@")
        return ServingPlan(wanted, default=(name, version) if default else None, settings=settings)

    def look(self, plan: ServingPlan, *, strict: bool = False, again: str = "") -> Look:  # noqa: ARG002
        """Those that the plan has."""
        entries = [
            entry_of(self._models[item.ref], replace(item, settings=plan.isolated(item.name, item.settings)))
            for item in plan.wanted
        ]
        kept = [entry for entry in entries if not {entry.key, (entry.name, "")} & plan.without]
        return Look(check_duplicates(kept))

    def has_changed(self) -> bool:
        """Never."""
        return False

    def find(self, plan: ServingPlan, name: str) -> tuple[Source, str]:
        """Only what is in the plan can be loaded."""
        for item in plan.wanted:
            if item.name == name:
                return item.source, item.path
        raise NotFoundError(
            f"There is no model “{safe_text(name, 80)}” to load.",
            hint="Start the server with it.",
            code="model.unknown",
        )

    def quarantine(self, entry: ServedEntry, signal: str, reason: str) -> None:
        """The supervisor drops it; there is no registry to write to."""

    def hold(self, held: Sequence[Resolved]) -> None:
        """Files need no lease."""

    def close(self) -> None:
        """Nothing to let go of."""


def _wanted(resolved: Resolved) -> Wanted:
    name = resolved.model.name if resolved.model is not None else name_from_path(Path(resolved.path))
    return Wanted(name, resolved.ref, Source.FILE, resolved.path)
