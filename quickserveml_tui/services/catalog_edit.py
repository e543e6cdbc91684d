"""Pure changes of a model record: texts, tags, aliases, versions, with the rules they keep."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ConflictError, ModelUnrunnableError, NotFoundError, UsageError
from quickserveml_tui.core.models import AliasEvent, MetadataPatch, ModelRecord, VersionRecord
from quickserveml_tui.core.refs import PROTECTED_ALIASES, check_alias, check_label, check_tag
from quickserveml_tui.core.text import plural, safe_text

MAX_LINE = 200
MAX_LONG_TEXT = 10_000
MAX_TAGS = 50
MAX_ALIASES = 100
MAX_METADATA = 200
MAX_KEY = 128
MAX_VALUE = 4096
MAX_HISTORY = 1000
_JOINERS = "\u200c\u200d"  # scripts and emoji need them; fronts drop them where they could mislead


def check_text(what: str, value: str, *, is_long: bool = False) -> str:
    """`value`, if it is short enough and holds no control or text-reordering characters; else `UsageError`."""
    limit = MAX_LONG_TEXT if is_long else MAX_LINE
    if len(value) > limit:
        raise UsageError(
            f"The {what} is too long: {len(value):,} characters.",
            hint=f"Use at most {limit:,} characters.",
            code="metadata.invalid",
        )
    allowed = _JOINERS + ("\n\t" if is_long else "")
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs") and char not in allowed for char in value):
        raise UsageError(
            f"The {what} holds control characters.",
            hint="Use plain text without escape sequences or invisible characters.",
            code="metadata.invalid",
        )
    return value


def check_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """`metadata`, if keys, values and their number are within bounds; else `UsageError`."""
    if len(metadata) > MAX_METADATA:
        raise UsageError(
            f"There are {len(metadata):,} metadata keys.", hint=f"Use at most {MAX_METADATA}.", code="metadata.invalid"
        )
    for key, value in metadata.items():
        check_text("metadata key", key)
        if not key or len(key) > MAX_KEY or len(value) > MAX_VALUE:
            raise UsageError(
                f"The metadata “{safe_text(key, 60)}” is out of bounds.",
                hint=f"Keys take 1 to {MAX_KEY} characters, values at most {MAX_VALUE:,}.",
                code="metadata.invalid",
            )
        check_text("metadata value", value, is_long=True)
    return metadata


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """The tags, each once and sorted. Raises `UsageError` for a bad one or too many."""
    kept = tuple(sorted({check_tag(tag) for tag in tags}))
    if len(kept) > MAX_TAGS:
        raise UsageError(f"There would be {len(kept)} tags.", hint=f"Use at most {MAX_TAGS}.", code="tag.too_many")
    return kept


def is_protected(alias: str) -> bool:
    """Whether an alias stands for a promise to others: `prod` and `staging`, in any case of letters."""
    return alias.lower() in PROTECTED_ALIASES


def patched(model: ModelRecord, number: int | None, patch: MetadataPatch) -> ModelRecord:
    """The model with the patch; label, state and notes go to version `number`."""
    texts: dict[str, Any] = {
        field: check_text(field, value, is_long=field == "description")
        for field in ("task", "author", "description", "framework", "license")
        if (value := getattr(patch, field)) is not None
    }
    metadata = dict(model.metadata)
    for key, item in (patch.metadata or {}).items():
        if item is None:
            metadata.pop(key, None)
        else:
            metadata[key] = item
    changed = replace(model, metadata=check_metadata(metadata), **texts)
    if patch.label is None and patch.state is None and patch.notes is None:
        return changed
    version = changed.version(number) if number is not None else changed.latest
    if version is None:
        raise NotFoundError(f"{model.name} has no version to change.", code="version.not_found")
    return with_version(changed, _patched_version(changed, version, patch))


def _patched_version(model: ModelRecord, version: VersionRecord, patch: MetadataPatch) -> VersionRecord:
    if patch.label is not None:
        version = replace(version, label=check_free_label(model, patch.label, version.version))
    if patch.state is not None:
        version = replace(version, state=patch.state)
    if patch.notes is not None:
        version = replace(version, notes=check_text("notes", patch.notes, is_long=True))
    return version


def check_free_label(model: ModelRecord, label: str, number: int = 0) -> str:
    """`label`, if it is empty, or valid and no other version's. Raises `UsageError` or `ConflictError`."""
    if not label:
        return label
    check_label(label)
    owner = next((item for item in model.versions if item.label == label and item.version != number), None)
    if owner is not None:
        raise ConflictError(
            f"Version {owner.version} of {model.name} already has the label {label}.",
            hint="Choose another label, or clear it there first.",
            code="label.taken",
        )
    return label


def with_version(model: ModelRecord, version: VersionRecord) -> ModelRecord:
    """The model with one version put in the place of the one with the same number."""
    versions = tuple(version if item.version == version.version else item for item in model.versions)
    return replace(model, versions=versions)


def with_alias(model: ModelRecord, alias: str, number: int) -> ModelRecord:
    """The model with the alias pointing at version `number`.

    Raises `NotFoundError` when there is no such version, `ModelUnrunnableError` when a protected alias would point at
    one that does not run.
    """
    check_alias(alias)
    version = model.version(number)
    if version is None:
        raise NotFoundError(f"{model.name} has no version {number}.", code="version.not_found")
    if is_protected(alias) and not version.runnable:
        raise unrunnable(model.name, version, f"{alias} cannot point at it")
    previous = model.aliases.get(alias, 0)
    if previous == number:
        return model
    if not previous and len(model.aliases) >= MAX_ALIASES:
        raise UsageError(
            f"{model.name} has {plural(len(model.aliases), 'alias', 'aliases')}.",
            hint="Remove one first.",
            code="alias.too_many",
        )
    return _moved(model, model.aliases | {alias: number}, AliasEvent(alias, number, previous, utc_now()))


def without_alias(model: ModelRecord, alias: str) -> ModelRecord:
    """The model without the alias. Raises `NotFoundError` when it has none of that name."""
    if alias not in model.aliases:
        known = ", ".join(sorted(model.aliases)) or "none"
        raise NotFoundError(
            f"{model.name} has no alias “{safe_text(alias, 60)}”.",
            hint=f"Its aliases: {known}.",
            code="alias.not_found",
        )
    rest = {name: number for name, number in model.aliases.items() if name != alias}
    return _moved(model, rest, AliasEvent(alias, 0, model.aliases[alias], utc_now()))


def _moved(model: ModelRecord, aliases: dict[str, int], event: AliasEvent) -> ModelRecord:
    return replace(model, aliases=aliases, alias_history=(*model.alias_history, event)[-MAX_HISTORY:])


def without_version(model: ModelRecord, number: int, *, force: bool) -> ModelRecord | None:
    """The model without a version and the aliases that point at it; None when it was the last one.

    Raises `ConflictError` (`alias.protected`) while a protected alias points at it, unless forced.
    """
    version = model.version(number)
    if version is None:
        raise NotFoundError(f"{model.name} has no version {number}.", code="version.not_found")
    aliases = model.aliases_of(number)
    check_unprotected(model.name, [alias for alias in aliases if is_protected(alias)], force=force)
    for alias in aliases:
        model = without_alias(model, alias)
    left = tuple(item for item in model.versions if item.version != number)
    return replace(model, versions=left) if left else None


def check_unprotected(name: str, protected: Sequence[str], *, force: bool) -> None:
    """Raise `ConflictError` (`alias.protected`) when there are protected aliases and the deletion is not forced."""
    if protected and not force:
        raise ConflictError(
            f"{name} cannot be deleted: {' and '.join(sorted(protected))} points at it.",
            hint="Move the alias first, or delete with --force.",
            code="alias.protected",
        )


def unrunnable(name: str, version: VersionRecord, consequence: str) -> ModelUnrunnableError:
    """The error of a use that needs a version that runs."""
    return ModelUnrunnableError(
        f"{name}@{version.version} does not run, so {consequence}: {safe_text(version.trial.reason, 300)}",
        hint="It can be inspected; add a corrected file as the next version.",
        detail=version.trial.detail,
    )
