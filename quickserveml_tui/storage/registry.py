"""The registry: models in one TinyDB document, changed by locked transactions that replace the file atomically."""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import orjson
from tinydb import TinyDB, where
from tinydb.storages import Storage
from tinydb.table import Document, Table

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ConflictError, StoreError
from quickserveml_tui.core.models import ModelRecord
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.documents import corrupt, from_document, newer_schema, to_document

WHAT = "registry"
SCHEMA = 1
META = "_meta"
MODELS = "models"
MAX_FILE_BYTES = 512 << 20
MAX_MODELS = 10_000
WARN_MODELS = 5_000

_RECORDS = msgspec.json.Decoder(ModelRecord)
Tables: TypeAlias = dict[str, dict[str, Any]]
log = logging.getLogger(__name__)


class MemoryStorage(Storage):
    """A TinyDB storage over tables in memory that remembers whether it was written."""

    def __init__(self, tables: Tables | None) -> None:
        self.tables = tables
        self.is_written = False

    def read(self) -> Tables | None:
        """The tables; None when there are none yet."""
        return self.tables

    def write(self, data: Tables) -> None:
        """Keep the tables."""
        self.tables = data
        self.is_written = True


class _File(msgspec.Struct):
    """What readers need of the file; each model stays raw until it is known to have changed."""

    meta: dict[str, dict[str, Any]] = msgspec.field(name=META)
    models: dict[str, msgspec.Raw] = {}


@dataclass(frozen=True)
class _Snapshot:
    token: str
    models: tuple[ModelRecord, ...]
    by_key: dict[str, ModelRecord]
    """By id and, winning over ids, by name."""
    decoded: dict[str, tuple[bytes, ModelRecord]]
    """Document and record by document id."""


_EMPTY = _Snapshot("0", (), {}, {})


class TinyDbRegistry:
    """`RegistryStore` in a file that any number of threads and processes may use at once.

    TinyDB's own storage rewrites the file in place without a lock, so two writers or a kill destroy it. Here each
    transaction takes a lock, reads the file, works on a fresh TinyDB over memory (with a fresh id counter and query
    cache), and replaces the file atomically if anything was written. ADR 0002 tells more.
    """

    def __init__(self, path: Path, *, lock_timeout_s: float = 10.0, read_only: bool = False) -> None:
        self._path = path
        self._read_only = read_only
        self._lock_path = path.with_name(path.name + ".lock")
        self._lock_timeout_s = lock_timeout_s
        self._thread_lock = threading.Lock()
        self._cache_lock = threading.Lock()
        self._cache = _EMPTY

    # ---- reading --------------------------------------------------------------------------------------------------

    def generation(self) -> str:
        """A token that changes with every write: inode, size and modification time, which writes keep ascending."""
        try:
            return _token(self._path.stat(follow_symlinks=False))
        except FileNotFoundError:
            return _EMPTY.token
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error

    def models(self) -> tuple[ModelRecord, ...]:
        """All models, by name."""
        return self._snapshot().models

    def find(self, name: str) -> ModelRecord | None:
        """The model with this name or id."""
        return self._snapshot().by_key.get(name)

    def _snapshot(self) -> _Snapshot:
        if self._cache.token == self.generation():
            return self._cache
        with self._cache_lock:
            data, token = self._read()
            if token != self._cache.token:
                self._cache = _EMPTY if data is None else _decode(data, token, self._cache)
            return self._cache

    def _read(self) -> tuple[bytes | None, str]:
        """Content and token of one and the same file; None where there is no file yet."""
        try:
            descriptor = fs.open_regular(self._path)
        except FileNotFoundError:
            return None, _EMPTY.token
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        try:
            token = _token(os.fstat(descriptor))
            return fs.read_all(descriptor, MAX_FILE_BYTES), token
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        finally:
            os.close(descriptor)

    # ---- writing --------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[TinyDB]:
        """A TinyDB that no other writer shares; what the block wrote is durable once it ends without an error.

        Raises `StoreError` when the lock is not free in time or the file cannot be read or written; the file then
        holds the old or, when only the folder could not be synced, the new content.
        """
        with self._locked(), _paused_collector():
            data, _token_before = self._read()
            storage = MemoryStorage(None if data is None else _parse(data))
            try:
                yield TinyDB(storage=lambda: storage)
                if storage.is_written and storage.tables is not None:
                    self._write(storage.tables)
            finally:
                storage.tables = None  # before the collector goes on

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            fs.make_private_dir(self._path.parent)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error
        if not self._thread_lock.acquire(timeout=self._lock_timeout_s):
            raise StoreError(f"The {WHAT} is busy.", hint="Try again in a moment.", code="store.locked")
        try:
            with fs.locked(self._lock_path, WHAT, timeout_s=self._lock_timeout_s):
                fs.remove_stale_temps(self._path.parent)
                yield
        finally:
            self._thread_lock.release()

    def _write(self, tables: Tables) -> None:
        tables.setdefault(META, {})["1"] = {"schema": SCHEMA}
        try:
            data = orjson.dumps(tables)
        except TypeError as error:
            raise StoreError(
                "The registry cannot hold this value; nothing was changed.",
                hint="Integers must fit 64 bits and text must be valid Unicode.",
                code="store.unrepresentable",
                detail=str(error),
            ) from error
        try:
            before_ns = self._path.stat().st_mtime_ns
        except OSError:
            before_ns = 0
        try:
            fs.write_atomic(self._path, data, newer_than_ns=before_ns)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error

    def put(
        self,
        name: str,
        change: Callable[[ModelRecord | None], ModelRecord | None],
        *,
        expected_rev: int | None = None,
    ) -> ModelRecord | None:
        """Read, change and write one model in one transaction; see `RegistryStore.put`."""
        with self.transaction() as db:
            table = db.table(MODELS)
            document = _find(table, name)
            old = None if document is None else from_document(document, ModelRecord, WHAT)
            if expected_rev is not None and (old is None or old.rev != expected_rev):
                raise ConflictError(
                    f"{name} was changed by somebody else in the meantime.",
                    hint="Read it again, then repeat the change.",
                    code="model.changed",
                )
            new = change(old)
            if new is None:
                if document is not None:
                    table.remove(doc_ids=[document.doc_id])
                return None
            if old is not None and replace(new, rev=old.rev, updated_at=old.updated_at) == old:
                return old
            return _store(table, document, replace(new, rev=old.rev + 1 if old else 1, updated_at=utc_now()))


@contextmanager
def _paused_collector() -> Iterator[None]:
    """Keep the cycle collector out of the way: it would walk the growing tables again and again.

    A write at 10,000 models takes a quarter of the CPU time. Whoever found it running starts it again, so it cannot be
    left off.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _store(table: Table, document: Document | None, record: ModelRecord) -> ModelRecord:
    taken = table.get(where("name") == record.name)
    if isinstance(taken, Document) and (document is None or taken.doc_id != document.doc_id):
        raise ConflictError(
            f"There is already a model called {record.name}.", hint="Choose another name.", code="name.taken"
        )
    fields = to_document(record)
    if document is not None:

        def replace_fields(stored: MutableMapping[str, Any]) -> None:
            stored.clear()
            stored.update(fields)

        table.update(replace_fields, doc_ids=[document.doc_id])
        return record
    count = len(table)
    if count >= MAX_MODELS:
        raise StoreError(
            f"The registry is full: it holds {count:,} models.",
            hint="Delete models that are no longer needed.",
            code="registry.full",
        )
    if count + 1 >= WARN_MODELS:
        log.warning("The registry holds %d of at most %d models; writes become slow.", count + 1, MAX_MODELS)
    table.insert(fields)
    return record


def _find(table: Table, name: str) -> Document | None:
    for query in (where("name") == name, where("id") == name):
        found = table.get(query)
        if isinstance(found, Document):
            return found
    return None


def _token(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"


def _parse(data: bytes) -> Tables:
    try:
        tables = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise corrupt(WHAT, str(error)) from error
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise corrupt(WHAT, "The file holds no tables.")
    _check_schema(tables.get(META, {}))
    if not all(isinstance(document, dict) for table in tables.values() for document in table.values()):
        raise corrupt(WHAT, "A table holds something that is not a document.")
    if not all(key.isdecimal() and key.isascii() for table in tables.values() for key in table):
        raise corrupt(WHAT, "A document id is not a number.")
    return tables


def _check_schema(meta: dict[str, Any]) -> None:
    document = meta.get("1")
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise corrupt(WHAT, "The file names no schema.")
    if schema > SCHEMA:
        raise newer_schema(WHAT, schema, SCHEMA)


def _decode(data: bytes, token: str, before: _Snapshot) -> _Snapshot:
    """Snapshot of the file; a record whose document did not change is taken over, because decoding costs most.

    At 10,000 models this takes a third of the time of reading through TinyDB, which would build every document.
    """
    decoded: dict[str, tuple[bytes, ModelRecord]] = {}
    try:
        file = msgspec.json.decode(data, type=_File)
        _check_schema(file.meta)
        for key, raw in file.models.items():
            document = bytes(raw)
            known = before.decoded.get(key)
            if known is None or known[0] != document:
                known = (document, _RECORDS.decode(document))
            decoded[key] = known
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise corrupt(WHAT, str(error)) from error
    records = sorted((record for _document, record in decoded.values()), key=lambda record: record.name)
    by_key = {record.id: record for record in records} | {record.name: record for record in records}
    return _Snapshot(token, tuple(records), by_key, decoded)
