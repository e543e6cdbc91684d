"""Protected aliases, like `prod`, are a promise: they only move to versions that give their golden outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, TypeVar

from quickserveml_tui.core.catalog import Resolved
from quickserveml_tui.core.errors import ConflictError
from quickserveml_tui.core.models import GoldenOutput, ModelRecord, VersionRecord
from quickserveml_tui.services.catalog_aliases import is_protected
from quickserveml_tui.services.golden_checks import RECORD_AGAIN
from quickserveml_tui.services.golden_gate import GoldenGate

T = TypeVar("T")
_Content: TypeAlias = tuple[str, tuple[GoldenOutput, ...]]
_MOST_MOVES = 8


class Promotion:
    """One change that may promote a version.

    Golden outputs are checked outside the transaction that moves the alias; when another version is meant by then, that
    one is checked, and the transaction repeated.
    """

    def __init__(
        self, gate: GoldenGate, open_version: Callable[[str, VersionRecord], Path], *, always: bool = False
    ) -> None:
        """With `always`, whatever the alias is called."""
        self._gate = gate
        self._always = always
        self._open = open_version
        self._passed: set[_Content] = set()

    def verify(self, model: ModelRecord, version: VersionRecord, alias: str) -> None:
        """Check a version now. Raises `GateError`, and `StoreError` when its model cannot be opened."""
        ref = f"{model.name}@{version.version}"
        found = Resolved(ref, str(self._open(ref, version)), version.artifact.digest, model, version)
        self._gate.require(found, f"{alias} cannot point at it", way_out=RECORD_AGAIN)
        self._passed.add(_content(version))

    def admit(self, before: ModelRecord, after: ModelRecord, alias: str) -> None:
        """Within the transaction: stop it if `alias` becomes a promise about a version that was not checked yet."""
        version = after.version(after.aliases.get(alias, 0))
        if version is None or not version.golden or not (self._always or is_protected(after, alias)):
            return
        is_new = before.aliases.get(alias) != version.version or not is_protected(before, alias)
        if is_new and _content(version) not in self._passed:
            raise _NotYetError(after, version, alias)

    def insist(self, before: ModelRecord, after: ModelRecord, alias: str) -> None:
        """As `admit`, in a transaction that cannot be repeated. Raises `ConflictError` (`model.changed`)."""
        try:
            self.admit(before, after, alias)
        except _NotYetError as stop:
            raise _changed(f"Golden outputs of {stop.ref} were recorded in the meantime.") from stop

    def run(self, work: Callable[[], T]) -> T:
        """What `work`, a transaction that calls `admit`, returns. Raises what `verify` and `work` raise."""
        for _attempt in range(_MOST_MOVES):
            try:
                return work()
            except _NotYetError as stop:
                self.verify(stop.model, stop.version, stop.alias)
        raise _changed("The version was changed again and again in the meantime.")


class _NotYetError(Exception):
    """The transaction needs a version whose golden outputs were not checked yet."""

    def __init__(self, model: ModelRecord, version: VersionRecord, alias: str) -> None:
        super().__init__(alias)
        self.ref = f"{model.name}@{version.version}"
        self.model = model
        self.version = version
        self.alias = alias


def _content(version: VersionRecord) -> _Content:
    return version.artifact.digest, version.golden


def _changed(message: str) -> ConflictError:
    return ConflictError(message, hint="Repeat the change.", code="model.changed")
