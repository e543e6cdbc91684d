"""Pure changes of a model record: texts, tags, categories, labels, lineage, with the rules they keep."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from quickserveml_tui.core.errors import ConflictError, NotFoundError, UsageError
from quickserveml_tui.core.models import Lineage, MetadataPatch, ModelRecord, VersionRecord
from quickserveml_tui.core.refs import check_category, check_label, check_tag
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.catalog_lookup import Find, registered, select_version

MAX_LINE = 200
MAX_LONG_TEXT = 10_000
MAX_TAGS = 50
MAX_CATEGORIES = 50
MAX_LINEAGE = 1000
MAX_METADATA = 200
MAX_KEY = 128
MAX_VALUE = 4096
_JOINERS = "\u200c\u200d"  # scripts and emoji need them; fronts drop them where they could mislead


VERSION_FIELDS = ("label", "state", "notes", "version_metadata", "made_from", "converted_by", "parent")
"""Fields of a patch that belong to a version; the others belong to the model."""
_DIGEST = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


def check_text(what: str, value: str, *, is_long: bool = False, limit: int = 0) -> str:
    """`value`, if it is short enough and holds no control or text-reordering characters; else `UsageError`."""
    limit = limit or (MAX_LONG_TEXT if is_long else MAX_LINE)
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


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags, each once and sorted. Raises `UsageError` for a bad one or too many."""
    kept = tuple(sorted({check_tag(tag) for tag in tags}))
    if len(kept) > MAX_TAGS:
        raise UsageError(f"There would be {len(kept)} tags.", hint=f"Use at most {MAX_TAGS}.", code="tag.too_many")
    return kept


def check_categories(categories: Iterable[str]) -> tuple[str, ...]:
    """The categories, each once and sorted. Raises `UsageError` for a bad one or too many."""
    kept = tuple(sorted({check_category(category) for category in categories}))
    if len(kept) > MAX_CATEGORIES:
        raise UsageError(
            f"There would be {len(kept)} categories.", hint=f"Use at most {MAX_CATEGORIES}.", code="category.too_many"
        )
    return kept


def merged(old: Sequence[str], add: Sequence[str], remove: Sequence[str] = ()) -> list[str]:
    """Words with some added and some taken away, whatever the case of their letters.

    A word that is there keeps its spelling: `Vision` beside `vision` would be two tags that nobody can tell apart.
    """
    gone = {word.lower() for word in remove}
    kept = {word.lower(): word for word in reversed(old) if word.lower() not in gone}
    for word in add:
        kept.setdefault(word.lower(), word)
    return list(kept.values())


def with_tags(model: ModelRecord, add: Sequence[str] = (), remove: Sequence[str] = ()) -> ModelRecord:
    """The model with tags added and taken away. Raises `UsageError` for a bad tag to add, or too many."""
    return replace(model, tags=_changed(model.tags, add, remove, check_tags))


def with_categories(model: ModelRecord, add: Sequence[str] = (), remove: Sequence[str] = ()) -> ModelRecord:
    """The model with categories added and taken away. Raises `UsageError` for a bad one to add, or too many."""
    return replace(model, categories=_changed(model.categories, add, remove, check_categories))


def _changed(
    old: tuple[str, ...], add: Sequence[str], remove: Sequence[str], check: Callable[[Iterable[str]], tuple[str, ...]]
) -> tuple[str, ...]:
    check(add[:MAX_TAGS])  # by themselves first: a bad word is named even when it is among too many
    return check(merged(old, add, remove)) if add or remove else old


def touches_version(patch: MetadataPatch) -> bool:
    """Whether a patch changes something that belongs to a version."""
    return any(getattr(patch, field) is not None for field in VERSION_FIELDS)


def patched(model: ModelRecord, number: int | None, patch: MetadataPatch, find: Find) -> ModelRecord:
    """The model with the patch; label, state, notes and lineage go to version `number`, the latest one by default."""
    texts: dict[str, Any] = {
        field: check_text(field, value, is_long=field == "description")
        for field in ("task", "author", "description", "framework", "license")
        if (value := getattr(patch, field)) is not None
    }
    changed = replace(model, metadata=_patched_metadata(model.metadata, patch.metadata), **texts)
    if not touches_version(patch):
        return changed
    version = changed.version(number) if number is not None else changed.latest
    if version is None:
        raise NotFoundError(f"{model.name} has no version to change.", code="version.not_found")
    return with_version(changed, _patched_version(changed, version, patch, find))


def _patched_metadata(old: dict[str, str], changes: dict[str, str | None] | None) -> dict[str, str]:
    metadata = {key: value for key, value in old.items() if (changes or {}).get(key, "") is not None}
    return check_metadata(metadata | {key: value for key, value in (changes or {}).items() if value is not None})


def _patched_version(model: ModelRecord, version: VersionRecord, patch: MetadataPatch, find: Find) -> VersionRecord:
    if patch.label is not None:
        version = replace(version, label=check_free_label(model, patch.label, version.version))
    if patch.state is not None:
        version = replace(version, state=patch.state)
    if patch.notes is not None:
        version = replace(version, notes=check_text("notes", patch.notes, is_long=True))
    if patch.version_metadata is not None:
        version = replace(version, metadata=_patched_metadata(version.metadata, patch.version_metadata))
    return replace(version, lineage=_patched_lineage(model, version, patch, find))


def _patched_lineage(model: ModelRecord, version: VersionRecord, patch: MetadataPatch, find: Find) -> Lineage:
    lineage = version.lineage
    if patch.made_from is not None:
        lineage = replace(lineage, made_from=check_lineage_text("made from", patch.made_from))
    if patch.converted_by is not None:
        lineage = replace(lineage, converted_by=check_lineage_text("converted by", patch.converted_by))
    if patch.parent is not None:
        parent = check_parent(patch.parent, find)
        if parent in (f"{model.name}@{version.version}", version.artifact.digest):
            raise _bad_parent("A version cannot be derived from itself.")
        lineage = replace(lineage, parent=parent)
    return lineage


def check_lineage_text(what: str, value: str) -> str:
    """`value`, if it can say where a version comes from: one line of at most 1,000 characters; else `UsageError`."""
    return check_text(what, value, limit=MAX_LINEAGE)


def check_parent(parent: str, find: Find) -> str:
    """`parent` in its canonical form: nothing, `name@version`, or a sha256 in lower case.

    A reference may use a label or an alias and must lead to a version that exists; what a digest names need not be
    here. Raises `UsageError` (`lineage.invalid`) and `NotFoundError`.
    """
    if not parent:
        return ""
    if _DIGEST.fullmatch(parent):
        return parent.lower()
    try:
        parsed = registered(parent)
    except (UsageError, NotFoundError) as error:
        raise _bad_parent(f"“{safe_text(parent, 80)}” is no parent.") from error
    if parsed.node is not None:
        raise _bad_parent("A node cannot be a parent.")
    model = find(parsed.name)
    if model is None or model.name != parsed.name:
        raise NotFoundError(
            f"The parent {safe_text(parent, 80)} is not in the catalog.",
            hint="Name a version that is, or give the sha256 of the artifact.",
            code="model.not_found",
        )
    return f"{model.name}@{select_version(model, parsed.selector).version}"


def _bad_parent(message: str) -> UsageError:
    return UsageError(
        message, hint="Write name@version of another version, or the sha256 of an artifact.", code="lineage.invalid"
    )


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
