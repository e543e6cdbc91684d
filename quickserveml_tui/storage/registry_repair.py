"""Getting models out of a damaged registry file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.jobs import new_id
from quickserveml_tui.core.models import ModelRecord, TrashEntry, TrashKind
from quickserveml_tui.core.text import plural
from quickserveml_tui.storage.documents import to_document
from quickserveml_tui.storage.registry_schema import MODELS, TRASH, Tables
from quickserveml_tui.storage.registry_snapshot import Snapshot

_DOCUMENT = re.compile(rb'"(?:0|[1-9][0-9]*)"\s*:\s*(?=\{)')
_ID = re.compile(rb'"(?:0|[1-9][0-9]*)"\s*:\s*\{"id":"((model|trash)-[0-9a-f]{12})"')
_DIGEST = re.compile(rb'"([0-9a-f]{64})"')


class Counts(NamedTuple):
    """How many models and entries of the trash."""

    models: int
    trash: int

    def text(self) -> str:
        """In words; models are always named."""
        entries = plural(self.trash, "trash entry", "trash entries")
        return f"{plural(self.models, 'model')} and {entries}" if self.trash else plural(self.models, "model")


@dataclass(slots=True)
class Salvaged:
    """What could be had, by id."""

    models: dict[str, ModelRecord] = field(default_factory=dict)
    trash: dict[str, TrashEntry] = field(default_factory=dict)

    def is_empty(self) -> bool:
        """Whether there is nothing."""
        return not self.models and not self.trash

    def counts(self) -> Counts:
        """How much there is."""
        return Counts(len(self.models), len(self.trash))

    def lost_from(self, data: bytes) -> Counts:
        """How much a damaged file names that is not here."""
        have = {*self.models, *self.trash, *(entry.model_id for entry in self.trash.values())}
        lost = {match[1].decode(): match[2] for match in _ID.finditer(data)}
        kinds = [kind for key, kind in lost.items() if key not in have]
        return Counts(kinds.count(b"model"), kinds.count(b"trash"))

    def tables(self) -> Tables:
        """The documents as the registry keeps them."""
        return {MODELS: _table(self.models.values()), TRASH: _table(self.trash.values())}


def digests_in(data: bytes) -> set[str]:
    """Everything in a damaged file that may be the digest of a blob."""
    return {match.decode() for match in _DIGEST.findall(data)}


def salvage(data: bytes) -> Salvaged:
    """Every model and trash entry in `data` that still parses, wherever it stands.

    A document begins after a number in quotes; in text a quote is escaped, so no name or note can look like one.
    """
    found = Salvaged()
    decoder = json.JSONDecoder()
    # One character for each byte, so that positions hold and broken text spoils only its own document.
    text = data.decode("latin-1")
    position = 0
    while (match := _DOCUMENT.search(data, position)) is not None:
        position = match.end()
        try:
            _value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            continue
        document = data[position:end]
        model = _decoded(document, ModelRecord)
        entry = None if model is not None else _decoded(document, TrashEntry)
        if model is not None:
            found.models.setdefault(model.id, model)
        elif entry is not None:
            found.trash.setdefault(entry.id, entry)
        else:
            continue  # not a document of ours, but there may be one within
        position = end
    return found


def is_whole(tables: Tables) -> bool:
    """Whether every model and trash entry fits."""
    return all(_decoded(bytes(raw), ModelRecord) is not None for raw in tables.get(MODELS, {}).values()) and all(
        _decoded(bytes(raw), TrashEntry) is not None for raw in tables.get(TRASH, {}).values()
    )


def readable(snapshot: Snapshot) -> Salvaged:
    """All documents of a snapshot that still fit, one by one."""
    found = Salvaged()
    for raw in snapshot.models.values():
        model = _decoded(bytes(raw), ModelRecord)
        if model is not None:
            found.models.setdefault(model.id, model)
    for raw in snapshot.tables.get(TRASH, {}).values():
        entry = _decoded(bytes(raw), TrashEntry)
        if entry is not None:
            found.trash.setdefault(entry.id, entry)
    return found


def merge(found: Salvaged, older: Salvaged) -> Counts:
    """Add to `found` what only an older generation still has; returns how much that was.

    A model whose name was given to another one meanwhile goes to the trash, where it can be restored from.
    """
    deleted = {entry.model_id for entry in found.trash.values() if entry.kind is TrashKind.MODEL}
    names: set[str] = set()
    first, found.models = found.models, {}
    only_older = [model for key, model in older.models.items() if key not in first and key not in deleted]
    for model in (*first.values(), *only_older):
        if model.name in names:
            entry = TrashEntry(new_id("trash"), TrashKind.MODEL, model.id, model.name, utc_now(), model=model)
            found.trash[entry.id] = entry
        else:
            found.models[model.id] = model
            names.add(model.name)
    entries = 0
    for entry in older.trash.values():
        is_missing = entry.id not in found.trash
        if is_missing and (entry.kind is TrashKind.VERSION or entry.model_id not in found.models):
            found.trash[entry.id] = entry
            entries += 1
    return Counts(len(only_older), entries)


def sentence(salvaged: Counts, added: Counts, source: str, lost: Counts, aside: str) -> str:
    """What the repair of a damaged file did, and what it could not do."""
    parts = [f"{salvaged.text()} could be read from the damaged registry"]
    if source:
        later = ", without what was changed later" if any(added) else ""
        parts.append(f"{added.text()} came from the generation {source}{later}")
    if any(lost):
        parts.append(f"{lost.text()} that it names could not be saved")
    return f"{'; '.join(parts)}; the damaged file is kept as {aside}."


def put_back_sentence(added: Counts, source: str) -> str:
    """What the repair of a file that was gone did."""
    return f"{added.text()} came back from the generation {source}; what was changed after it is lost."


def _decoded(document: bytes, kind: type[Any]) -> Any:
    try:
        record = msgspec.json.decode(document, type=kind)
        to_document(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, StoreError):
        return None
    return record


def _table(records: Iterable[ModelRecord | TrashEntry]) -> dict[str, msgspec.Raw]:
    return {str(number): msgspec.Raw(msgspec.json.encode(record)) for number, record in enumerate(records, 1)}
