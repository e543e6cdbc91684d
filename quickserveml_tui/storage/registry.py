"""The registry: models in one TinyDB document, changed by locked transactions that replace the file atomically."""
# Plain `os` calls, so that fault tests can count and break every one of them.
# ruff: noqa: PTH116

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from tinydb import TinyDB

from quickserveml_tui.core.errors import OPEN_FOR_WRITING, ConflictError, ReadOnlyError, StoreError
from quickserveml_tui.core.models import ModelRecord
from quickserveml_tui.core.stores import RegistryEdit
from quickserveml_tui.storage import fs, registry_health, registry_repair
from quickserveml_tui.storage.intent import refuse_pending
from quickserveml_tui.storage.registry_edit import RegistryLimits, TableEdit
from quickserveml_tui.storage.registry_generations import set_aside
from quickserveml_tui.storage.registry_reader import EMPTY, RegistryReader, file_token
from quickserveml_tui.storage.registry_schema import SCHEMA, WHAT, Tables, dump, is_corrupt, parse
from quickserveml_tui.storage.registry_snapshot import Snapshot, paused_collector
from quickserveml_tui.storage.registry_tables import TableStorage
from quickserveml_tui.storage.registry_transfer import RegistryTransfer

LIMITS = RegistryLimits()
T = TypeVar("T")


class TinyDbRegistry(RegistryReader, RegistryTransfer):
    """`RegistryStore` in a file that any number of threads and processes may use at once.

    TinyDB's own storage rewrites the file in place without a lock, so two writers or a kill destroy it. Here each
    transaction takes a lock, reads the file, works on a fresh TinyDB over memory (with a fresh id counter and query
    cache), and replaces the file atomically if anything was written. ADR 0002 tells more.
    """

    def __init__(
        self, path: Path, *, lock_timeout_s: float = 10.0, read_only: bool = False, limits: RegistryLimits = LIMITS
    ) -> None:
        super().__init__(path, read_only=read_only, limits=limits)
        self._lock_timeout_s = lock_timeout_s
        self._thread_lock = threading.Lock()

    # ---- writing --------------------------------------------------------------------------------------------------

    def put(
        self,
        name: str,
        change: Callable[[ModelRecord | None], ModelRecord | None],
        *,
        expected_rev: int | None = None,
    ) -> ModelRecord | None:
        """Read, change and write one model in one transaction; see `RegistryStore.put`."""

        def work(edit: RegistryEdit) -> ModelRecord | None:
            old = edit.find(name)
            if expected_rev is not None and (old is None or old.rev != expected_rev):
                raise ConflictError(
                    f"{name} was changed by somebody else in the meantime.",
                    hint="Read it again, then repeat the change.",
                    code="model.changed",
                )
            new = change(old)
            if old is not None and (new is None or new.id != old.id):
                edit.remove(old.id)
            return None if new is None else edit.put(new)

        return self.edit(work)

    def edit(self, work: Callable[[RegistryEdit], T]) -> T:
        """Run `work` in one transaction and return its result; see `RegistryStore.edit`."""
        with self._changing(are_checked=True) as (db, snapshot):
            edit = TableEdit(snapshot, self._limits)
            result = work(edit)
            edit.flush(db)
        return result

    @contextmanager
    def transaction(self) -> Iterator[TinyDB]:
        """A TinyDB that no other writer shares; what the block wrote is durable once it ends without an error.

        Raises `StoreError` when the lock is not free in time or the file cannot be read or written; the file then
        holds the old or, when only the folder could not be synced, the new content.
        """
        with self._changing(are_checked=False) as (db, _snapshot):
            yield db

    @contextmanager
    def _changing(self, *, are_checked: bool) -> Iterator[tuple[TinyDB, Snapshot]]:
        with self._locked(), paused_collector():
            refuse_pending(self._path.parent)
            snapshot = self._ask(Snapshot.check)
            if snapshot.problem is not None:
                raise registry_health.error_of(snapshot.problem)
            storage = TableStorage(snapshot.tables)
            yield TinyDB(storage=lambda: storage), snapshot
            if storage.is_written:
                self._commit(snapshot, storage.raw_tables(are_checked=are_checked))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._read_only:
            raise ReadOnlyError("This home was opened for reading only; nothing was changed.", hint=OPEN_FOR_WRITING)
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

    def _commit(self, before: Snapshot, tables: Tables) -> None:
        """Put the tables durably in the place of the file, and what it was among the generations where that is due."""
        data = dump(tables)
        if len(data) > self._limits.max_bytes:
            raise registry_health.too_large(len(data), self._limits.max_bytes)
        try:
            if before.mtime_ns and before.schema < SCHEMA:
                self._generations.keep_before_migration(self._path, before.mtime_ns, before.schema)
            elif before.mtime_ns:
                self._generations.keep_before_write(self._path, before.mtime_ns, time.time_ns())
            fs.write_atomic(self._path, data, newer_than_ns=before.mtime_ns)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error
        self._generations.prune()
        with suppress(OSError), self._cache_lock:  # without it, the next reader reads the file
            status = os.stat(self._path, follow_symlinks=False)
            self._cache = Snapshot(file_token(status), tables, mtime_ns=status.st_mtime_ns, before=before)

    # ---- repair ---------------------------------------------------------------------------------------------------

    def repair(self) -> str:
        """Mend a damaged file from what can still be read of it and from the newest kept generation.

        A file that is gone is made again from that generation alone. Returns one sentence on what was done; the damaged
        file is set aside, never removed. Raises `StoreError`: `store.corrupt` or `store.gone` when nothing could be
        saved, in which case the file stays where it is.
        """
        with self._locked(), paused_collector():
            try:
                data, _token_now, mtime_ns = self._read(self._path)
            except OSError as error:
                raise fs.store_error(error, WHAT, "read") from error
            try:
                file = parse(data) if data is not None else None
            except StoreError as error:
                if not is_corrupt(error):
                    raise
                file = None
            if data is None and self._snapshot(for_heads=False).problem is not None:
                return self._mend(None, 0)
            if data is None or (file is not None and registry_repair.is_whole(file.tables)):
                return "The registry is whole; nothing had to be repaired."
            if file is not None and file.schema > SCHEMA:
                raise registry_health.error_of(registry_health.newer_problem(file.schema))
            return self._mend(data, mtime_ns)

    def _mend(self, data: bytes | None, mtime_ns: int) -> str:
        found = registry_repair.salvage(data or b"")
        salvaged = found.counts()
        try:
            found_kept = ((path, self._kept(path, must_read=True)) for path in self._generations.newest_first())
            name, kept = next(((path.name, kept) for path, kept in found_kept if kept is not None), ("", None))
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        added = registry_repair.merge(found, registry_repair.readable(kept or EMPTY))
        if kept is None and (data is None or found.is_empty()):
            raise registry_health.gone() if data is None else registry_health.hopeless()
        try:
            aside = set_aside(self._path, time.time_ns()).name if data is not None else ""
            fs.write_atomic(self._path, dump(found.tables()), newer_than_ns=mtime_ns)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error
        if data is None:
            return registry_repair.put_back_sentence(added, name)
        return registry_repair.sentence(salvaged, added, name, found.lost_from(data), aside)
