"""One state of the registry, decoded no further than it was asked about."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from quickserveml_tui.core.care import StoreProblem
from quickserveml_tui.core.heads import ModelHead
from quickserveml_tui.core.models import ModelRecord, TrashEntry
from quickserveml_tui.storage.documents import corrupt
from quickserveml_tui.storage.registry_schema import MODELS, SCHEMA, TRASH, WHAT, Tables, parse

MAX_DECODED = 1_000
"""Full records that are kept decoded; one takes about 15 kB."""
MANY_HEADS = 2_000


class _Ident(msgspec.Struct):
    id: str
    name: str


class _FileBlob(msgspec.Struct):
    digest: str
    link: Any = None


class _ArtifactBlobs(msgspec.Struct):
    files: list[_FileBlob]


class _GoldenBlobs(msgspec.Struct):
    inputs_digest: str
    outputs_digest: str


class _VersionBlobs(msgspec.Struct):
    artifact: _ArtifactBlobs
    golden: list[_GoldenBlobs] = []


class _ModelBlobs(msgspec.Struct):
    versions: list[_VersionBlobs] = []


class _TrashBlobs(msgspec.Struct):
    model: _ModelBlobs | None = None
    version: _VersionBlobs | None = None


_IDENTS = msgspec.json.Decoder(_Ident)
_HEADS = msgspec.json.Decoder(ModelHead)
_RECORDS = msgspec.json.Decoder(ModelRecord)
_ENTRIES = msgspec.json.Decoder(TrashEntry)
_MODEL_BLOBS = msgspec.json.Decoder(_ModelBlobs)
_TRASH_BLOBS = msgspec.json.Decoder(_TrashBlobs)


@contextmanager
def paused_collector() -> Iterator[None]:
    """Keep the cycle collector out of the way: it would walk the growing tables again and again.

    At 10,000 models it takes a quarter of the CPU time. Whoever found it running starts it again, so it cannot be left
    off.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def spare_collector(fresh_heads: int) -> None:
    """Set all there is now apart from the cycle collector when very many heads were decoded, which have no cycles.

    At 10,000 models its first walk over them would cost 53 ms and every full one 100 ms, in an interface that may be
    drawing. What is dropped is still freed at once, by its reference count.
    """
    if fresh_heads >= MANY_HEADS:
        gc.freeze()


@contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise corrupt(WHAT, str(error)) from error


class Snapshot:
    """The registry at one moment; what it decodes it keeps, and takes over from the snapshot before where it can.

    Every method raises `StoreError` (`store.corrupt`) when a document that it needs does not fit.
    """

    def __init__(
        self,
        token: str,
        tables: Tables | bytes,
        *,
        heads: dict[str, ModelHead] | None = None,
        schema: int = SCHEMA,
        mtime_ns: int = 0,
        before: Snapshot | None = None,
        problem: StoreProblem | None = None,
    ) -> None:
        self.token = token
        self._content = tables
        """The tables; the bytes of the file while only its heads were read."""
        self.schema = schema
        """Schema of the file."""
        self.mtime_ns = mtime_ns
        self.problem = problem
        """Why this state may only be read."""
        self._lock = threading.RLock()
        self._idents: dict[str, tuple[str, str]] = {}
        self._heads: dict[str, ModelHead] = heads or {}
        self._records: dict[str, ModelRecord] = {}
        self._names: dict[str, str] | None = None
        self._keys: dict[str, str] = {}
        self._all_heads: tuple[ModelHead, ...] | None = None
        self._all_records: tuple[ModelRecord, ...] | None = None
        self._trash: dict[str, TrashEntry] | None = None
        self._before = before

    def _take_over(self) -> None:
        """Keep what was decoded before of documents that are still the same; their old bytes are let go.

        Done when something is first asked for: a process that ends after its write need not compare ten thousand
        documents. Call it under the lock.
        """
        before, self._before = self._before, None
        if before is None:
            return
        with before._lock:
            before._take_over()
            idents, heads, records = dict(before._idents), dict(before._heads), dict(before._records)
        if not (idents or heads or records):
            return
        old, new = before.models, self.models
        same = {key for key, raw in new.items() if (was := old.get(key)) is raw or was == raw}
        self._idents = {key: ident for key, ident in idents.items() if key in same}
        self._heads = {key: head for key, head in heads.items() if key in same}
        self._records = {key: record for key, record in records.items() if key in same}

    @property
    def tables(self) -> Tables:
        """All documents, raw."""
        content = self._content
        if isinstance(content, bytes):
            with self._lock, paused_collector():
                content = self._content = parse(content).tables
        return content

    @property
    def models(self) -> dict[str, msgspec.Raw]:
        """All models by document id, raw."""
        return self.tables.get(MODELS, {})

    # ---- models ---------------------------------------------------------------------------------------------------

    def check(self) -> Snapshot:
        """Make sure that every model has an id and a name."""
        self._index()
        return self

    def _index(self) -> dict[str, str]:
        """Document ids by name; those by model id are in `_keys`."""
        with self._lock, paused_collector(), _decoding():
            self._take_over()
            if self._names is None:
                for key, raw in self.models.items():
                    if key not in self._idents:
                        head = self._heads.get(key) or _IDENTS.decode(raw)
                        self._idents[key] = (head.id, head.name)
                self._keys = {ident: key for key, (ident, _name) in self._idents.items()}
                self._names = {name: key for key, (_ident, name) in self._idents.items()}
            return self._names

    def id_of(self, name: str) -> str | None:
        """Id of the model with this name."""
        key = self._index().get(name)
        return None if key is None else self._idents[key][0]

    def key_of(self, model_id: str) -> str | None:
        """Document id of the model with this id."""
        self._index()
        return self._keys.get(model_id)

    def find(self, name: str) -> ModelRecord | None:
        """The model with this name or id; only this one is decoded."""
        key = self._index().get(name) or self._keys.get(name)
        return None if key is None else self.record(key)

    def record(self, key: str) -> ModelRecord:
        """The model in this document."""
        with self._lock, _decoding():
            self._take_over()
            record = self._records.pop(key, None)
            if record is None:
                record = _RECORDS.decode(self.models[key])
                while len(self._records) >= MAX_DECODED:
                    del self._records[next(iter(self._records))]
            self._records[key] = record  # last, so that the one used longest ago goes first
            return record

    def heads(self) -> tuple[ModelHead, ...]:
        """Heads of all models, by name."""
        with self._lock, paused_collector(), _decoding():
            self._take_over()
            if self._all_heads is None:
                known = len(self._heads)
                if not isinstance(self._content, bytes):
                    for key, raw in self.models.items():
                        if key not in self._heads:
                            self._heads[key] = _HEADS.decode(raw)
                self._all_heads = tuple(sorted(self._heads.values(), key=lambda head: head.name))
                spare_collector(len(self._heads) - known)
            return self._all_heads

    def records(self) -> tuple[ModelRecord, ...]:
        """All models, by name; of more than `MAX_DECODED` none is kept."""
        with self._lock, paused_collector(), _decoding():
            self._take_over()
            if self._all_records is not None:
                return self._all_records
            if len(self.models) <= MAX_DECODED:
                found = [self.record(key) for key in self.models]
            else:
                found = [self._records.get(key) or _RECORDS.decode(raw) for key, raw in self.models.items()]
            records = tuple(sorted(found, key=lambda record: record.name))
            if len(records) <= MAX_DECODED:
                self._all_records = records
            return records

    # ---- trash and blobs ------------------------------------------------------------------------------------------

    def trash(self) -> dict[str, TrashEntry]:
        """Deleted models and versions by document id."""
        with self._lock, paused_collector(), _decoding():
            if self._trash is not None:
                return self._trash
            entries = {key: _ENTRIES.decode(raw) for key, raw in self.tables.get(TRASH, {}).items()}
            if len(entries) <= MAX_DECODED:
                self._trash = entries
            return entries

    def blobs(self) -> set[str]:
        """Digests of all blobs that models, and what is in the trash, need."""
        needed: set[str] = set()
        with paused_collector(), _decoding():
            for raw in self.models.values():
                for version in _MODEL_BLOBS.decode(raw).versions:
                    _add(needed, version)
            for raw in self.tables.get(TRASH, {}).values():
                entry = _TRASH_BLOBS.decode(raw)
                for version in (*(entry.model.versions if entry.model else ()), entry.version):
                    if version is not None:
                        _add(needed, version)
        return needed


def newest_first(entries: list[TrashEntry]) -> tuple[TrashEntry, ...]:
    """Entries as a list shows them."""
    return tuple(sorted(entries, key=lambda entry: (entry.deleted_at, entry.id), reverse=True))


def _add(needed: set[str], version: _VersionBlobs) -> None:
    needed.update(file.digest for file in version.artifact.files if file.link is None)
    for golden in version.golden:
        needed.add(golden.inputs_digest)
        needed.add(golden.outputs_digest)
