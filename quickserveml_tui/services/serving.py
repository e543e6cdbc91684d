"""Serving: which models are loaded now, what they look like from outside, and how one becomes another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from quickserveml_tui.core.errors import ModelError, NotFoundError
from quickserveml_tui.core.serving import (
    ServedEntry,
    ServedState,
    ServedStatus,
    default_entry,
    unversioned_entry,
)
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.serving_models import ServedModel
from quickserveml_tui.services.serving_stats import ModelStats
from quickserveml_tui.storage.artifact_files import file_digest


@dataclass(frozen=True, slots=True)
class _Table:
    """What is served at one moment; never changed, only replaced."""

    models: dict[str, dict[str, ServedModel]] = field(default_factory=dict)
    """By name and version."""
    unversioned: dict[str, ServedModel] = field(default_factory=dict)
    """By name: where requests go that name no version."""
    ordered: tuple[ServedModel, ...] = ()
    default: ServedModel | None = None


def _unversioned(versions: dict[str, ServedModel]) -> ServedModel:
    return versions[unversioned_entry([model.entry for model in versions.values()]).version]


class ServingService:
    """The models that this process serves: a table that is replaced in one step.

    `stats_for` gives the counters of a version; `may_be_empty` makes a server ready that serves nothing.
    """

    def __init__(
        self, stats_for: Callable[[ServedEntry], ModelStats] | None = None, *, may_be_empty: bool = False
    ) -> None:
        self._stats_for = stats_for or (lambda _entry: ModelStats())
        self._may_be_empty = may_be_empty
        self._table = _Table()
        self._told: tuple[ServedStatus, ...] | None = None
        self.draining = False
        """Whether the server is about to stop: it is no longer ready, but finishes what it has."""

    # ---- changes

    def load(self, entry: ServedEntry) -> ServedModel:
        """Load and calibrate a version; nothing is served by it yet. Takes its time: call it in a thread.

        Raises what `ServedModel` raises, and `ModelError` (`model.changed`) for a file that is no longer the one that
        was tried.
        """
        if not entry.registered and entry.digest and file_digest(Path(entry.path))[0] != entry.digest:
            raise ModelError(
                f"The file of {entry.name} has changed since it was tried.",
                hint="Load the model again: it is tried first.",
                code="model.changed",
            )
        return ServedModel(entry, self._stats_for(entry))

    def publish(self, models: Sequence[ServedModel], default: tuple[str, str] | None = None) -> tuple[ServedModel, ...]:
        """Serve exactly these models from now on; returns those that are served no longer.

        `default` names the version behind the short routes, or, with an empty version, the model; see `default_entry`.
        """
        table: dict[str, dict[str, ServedModel]] = {}
        for model in models:
            table.setdefault(model.name, {})[model.version] = model
        ordered = tuple(table[name][version] for name in sorted(table) for version in sorted(table[name], key=int))
        unversioned = {name: _unversioned(versions) for name, versions in table.items()}
        entry = default_entry([model.entry for model in models], default)
        chosen = table[entry.name][entry.version] if entry is not None else None
        before, self._table = self._table, _Table(table, unversioned, ordered, chosen)
        kept = set(models)
        return tuple(model for model in before.ordered if model not in kept)

    def tell(self, statuses: Sequence[ServedStatus]) -> None:
        """Take what the process above says of all versions: those that come, go or cannot be loaded too."""
        self._told = tuple(statuses)

    # ---- reading

    @property
    def models(self) -> tuple[ServedModel, ...]:
        """All versions of all models, by name and number."""
        return self._table.ordered

    @property
    def ready(self) -> bool:
        """Whether requests are welcome."""
        return bool(self._table.ordered or self._may_be_empty) and not self.draining

    @property
    def statuses(self) -> tuple[ServedStatus, ...]:
        """Everything that is served, comes, goes, or could not be loaded, by name and number."""
        found = {(model.name, model.version): ServedState.READY for model in self.models}
        here = tuple(ServedStatus(name, version, state) for (name, version), state in found.items())
        others = tuple(item for item in self._told or () if (item.name, item.version) not in found)
        return tuple(sorted((*here, *others), key=lambda item: (item.name, len(item.version), item.version)))

    def default(self) -> ServedModel:
        """The model behind the short routes. Raises `NotFoundError`."""
        found = self._table.default
        if found is None:
            raise NotFoundError("No model is served.", hint="Load a model first.", code="model.unknown")
        return found

    def versions(self, name: str) -> tuple[str, ...]:
        """Version numbers of a model, ascending. Raises `NotFoundError`."""
        self.find(name)
        return tuple(sorted(self._table.models[name], key=int))

    def find(self, name: str, selector: str = "") -> ServedModel:
        """A version by number, label or alias; without one that with the alias `prod`, else the highest one.

        Raises `NotFoundError` (`model.unknown`, `version.unknown`).
        """
        table = self._table
        versions = table.models.get(name)
        if versions is None:
            near = get_close_matches(name[:128], table.models, n=1)
            raise NotFoundError(
                f"Unknown model: “{safe_text(name, 80)}” is not served here.",
                hint=f"Did you mean {near[0]}?" if near else "POST /v2/repository/index lists the models.",
                code="model.unknown",
            )
        if not selector:
            return table.unversioned[name]
        for model in versions.values():
            if selector in model.selectors:
                return model
        raise NotFoundError(
            f"Unknown version: model {name} has no version “{safe_text(selector, 80)}” here.",
            hint=f"Versions: {', '.join(sorted(versions, key=int))}.",
            code="version.unknown",
        )
