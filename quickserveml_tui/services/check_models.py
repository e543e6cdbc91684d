"""Whether the registry's documents agree with themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from quickserveml_tui.core.care import CheckFinding, Severity
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import QuickServeError, UsageError
from quickserveml_tui.core.models import AliasEvent, ModelRecord, TrashEntry, VersionRecord
from quickserveml_tui.core.refs import PROTECTED_ALIASES, check_alias, check_label, check_name, check_tag
from quickserveml_tui.core.stores import RegistryStore
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.storage.artifacts import manifest_digest

REPAIR_HINT = "Straighten it out with quickserveml fsck --repair."


def check_models(
    registry: RegistryStore, models: Sequence[ModelRecord], trash: Sequence[TrashEntry], *, repair: bool
) -> list[CheckFinding]:
    """What contradicts itself in models and trash; with `repair`, aliases and version counters are straightened out."""
    findings = []
    for model in models:
        found = list(_examine(model))
        if repair and any(item.hint == REPAIR_HINT for item in found):
            found = _straighten(registry, model, found)
        findings += found
    for name, count in Counter(model.name for model in models).items():
        if count > 1:
            findings.append(_finding("registry.duplicate_name", name, f"{count} models are called {name}."))
    for entry in trash:
        findings += [item for version in entry.versions for item in _examine_version(entry.title, version)]
    return findings


def _examine(model: ModelRecord) -> Iterator[CheckFinding]:
    name = safe_text(model.name, 80)
    yield from _bad_names(model)
    numbers = [version.version for version in model.versions]
    if not numbers:
        yield _finding("registry.no_version", name, f"{name} has no version.", "Add one, or delete the model.")
    if numbers != sorted(set(numbers)):
        yield _finding("registry.version_order", name, f"The versions of {name} are not ascending.")
    if numbers and model.next_version <= max(numbers):
        yield _finding(
            "registry.next_version", name, f"{name} would give the number {model.next_version} again.", REPAIR_HINT
        )
    for alias, number in model.aliases.items():
        version = model.version(number)
        if version is None:
            text = f"The alias {safe_text(alias, 60)} of {name} points at version {number}, which is not there."
            yield _finding("registry.dangling_alias", f"{name}@{safe_text(alias, 60)}", text, REPAIR_HINT)
        elif alias.lower() in PROTECTED_ALIASES and not version.runnable:
            text = f"The alias {alias} of {name} points at version {number}, which does not run."
            yield _finding("registry.unrunnable_alias", f"{name}@{alias}", text, "Point it at a version that runs.")
    for version in model.versions:
        yield from _examine_version(name, version)


def _bad_names(model: ModelRecord) -> Iterator[CheckFinding]:
    checks = [(check_name, model.name), *((check_tag, tag) for tag in model.tags)]
    checks += [(check_alias, alias) for alias in model.aliases]
    checks += [(check_label, version.label) for version in model.versions if version.label]
    for check, value in checks:
        try:
            check(value)
        except UsageError as error:
            yield _finding("registry.bad_name", safe_text(model.name, 80), error.message, error.hint)


def _examine_version(name: str, version: VersionRecord) -> Iterator[CheckFinding]:
    if not version.artifact.files or manifest_digest(version.artifact.files) != version.artifact.digest:
        subject = f"{name}@{version.version}" if "@" not in name else name
        yield _finding(
            "registry.manifest",
            subject,
            f"The file list of {subject} does not fit its digest.",
            "Restore the registry from a backup, or add the model again.",
        )


def _straighten(registry: RegistryStore, model: ModelRecord, found: list[CheckFinding]) -> list[CheckFinding]:
    def mended(old: ModelRecord | None) -> ModelRecord | None:
        if old is None:
            return None
        dangling = [alias for alias, number in old.aliases.items() if old.version(number) is None]
        events = tuple(AliasEvent(alias, 0, old.aliases[alias], utc_now()) for alias in dangling)
        highest = max((version.version for version in old.versions), default=0)
        return replace(
            old,
            aliases={alias: number for alias, number in old.aliases.items() if alias not in dangling},
            alias_history=(*old.alias_history, *events),
            next_version=max(old.next_version, highest + 1),
        )

    try:
        registry.put(model.id, mended)
    except QuickServeError as error:
        return [*found, _finding("registry.not_mended", model.name, error.message, error.hint)]
    return [replace(item, repaired=True) if item.hint == REPAIR_HINT else item for item in found]


def _finding(code: str, subject: str, message: str, hint: str = "") -> CheckFinding:
    return CheckFinding("registry", code, Severity.ERROR, subject, message, hint)
