"""The registry: models in one TinyDB document, changed by locked transactions that replace the file atomically."""
# Plain `os` calls, so that fault tests can count and break every one of them.
# ruff: noqa: PTH116

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from tinydb import TinyDB

from quickserveml_tui.core.care import StoreProblem
from quickserveml_tui.core.errors import ConflictError, ReadOnlyError, StoreError
from quickserveml_tui.core.heads import ModelHead
from quickserveml_tui.core.models import ModelRecord, TrashEntry
from quickserveml_tui.core.stores import RegistryEdit
from quickserveml_tui.storage import fs, registry_health, registry_repair
from quickserveml_tui.storage.intent import refuse_pending
from quickserveml_tui.storage.registry_edit import RegistryLimits, TableEdit
from quickserveml_tui.storage.registry_generations import FOLDER, RegistryGenerations, set_aside
from quickserveml_tui.storage.registry_schema import SCHEMA, WHAT, Tables, dump, is_corrupt, parse, parse_heads
from quickserveml_tui.storage.registry_snapshot import Snapshot, newest_first, paused_collector
from quickserveml_tui.storage.registry_tables import TableStorage
from quickserveml_tui.storage.registry_transfer import RegistryTransfer

LIMITS = RegistryLimits()
T = TypeVar("T")
_EMPTY = Snapshot("0", {})
_NO_FILE = frozenset({errno.EISDIR, errno.EINVAL, errno.ELOOP})
"""What `fs.open_regular` raises for anything but a regular file."""


class TinyDbRegistry(RegistryTransfer):
    """`RegistryStore` in a file that any number of threads and processes may use at once.

    TinyDB's own storage rewrites the file in place without a lock, so two writers or a kill destroy it. Here each
    transaction takes a lock, reads the file, works on a fresh TinyDB over memory (with a fresh id counter and query
    cache), and replaces the file atomically if anything was written. ADR 0002 tells more.
    """

    def __init__(
        self, path: Path, *, lock_timeout_s: float = 10.0, read_only: bool = False, limits: RegistryLimits = LIMITS
    ) -> None:
        self._path = path
        self._lock_path = path.with_name(path.name + ".lock")
        self._lock_timeout_s = lock_timeout_s
        self._read_only = read_only
        self._limits = limits
        self._generations = RegistryGenerations(path.with_name(FOLDER))
        self._thread_lock = threading.Lock()
        self._cache_lock = threading.Lock()
        self._cache = _EMPTY
        self._broken: tuple[str, StoreError] | None = None
        """State of the file in which a document turned out damaged while nothing older could be shown."""

    # ---- reading --------------------------------------------------------------------------------------------------

    def generation(self) -> str:
        """A token that changes with every write: inode, size and modification time, which writes keep ascending."""
        try:
            return _token(os.stat(self._path, follow_symlinks=False))
        except FileNotFoundError:
            return _EMPTY.token
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error

    def problem(self) -> StoreProblem | None:
        """Why the registry can only be read, or not even that; see `RegistryStore.problem`."""
        try:
            found = self._ask(Snapshot.check).problem
            if found is None and self._broken is not None and self._broken[0] == self._cache.token:
                raise self._broken[1]
        except StoreError as error:
            return registry_health.problem_of(error)
        if found is None and not self._read_only:
            found = registry_health.folder_problem(self._path.parent, self._lock_path)
        return found

    def heads(self) -> tuple[ModelHead, ...]:
        """All models, by name: what lists and filters look at."""
        return self._ask(Snapshot.heads, for_heads=True)

    def models(self) -> tuple[ModelRecord, ...]:
        """All models, by name, in full; more than 1,000 are decoded anew by each call."""
        return self._ask(Snapshot.records)

    def find(self, name: str) -> ModelRecord | None:
        """The model with this name or id."""
        return self._ask(lambda snapshot: snapshot.find(name))

    def trash(self) -> tuple[TrashEntry, ...]:
        """Deleted models and versions, newest first."""
        return newest_first(list(self._ask(Snapshot.trash).values()))

    def blobs(self) -> frozenset[str]:
        """Digests of all blobs that models, the trash, and damaged files that were set aside, need.

        Raises `StoreError` while the registry is damaged or of a newer schema: nobody knows then what is needed.
        """
        snapshot = self._ask(lambda snapshot: snapshot)
        needed = self._ask(Snapshot.blobs)
        problem = self._ask(lambda snapshot: snapshot).problem or snapshot.problem
        if problem is not None:
            raise registry_health.error_of(problem)
        try:
            for path in self._path.parent.glob(f"{self._path.name}.damaged-*"):
                needed |= registry_repair.digests_in(self._read(path)[0] or b"")
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        return frozenset(needed)

    def capacity(self) -> tuple[int, int, int]:
        """Models now, the number from which to warn, and the number from which adding is refused."""
        count = len(self._ask(lambda snapshot: snapshot).models)
        return count, self._limits.warn_models, self._limits.max_models

    def _ask(self, question: Callable[[Snapshot], T], *, for_heads: bool = False) -> T:
        """The answer of the newest state, or of the newest kept one where a document of it turns out damaged."""
        snapshot = self._snapshot(for_heads)
        try:
            return question(snapshot)
        except StoreError as error:
            if snapshot.problem is not None or not is_corrupt(error):
                raise
            with self._cache_lock:
                self._cache = snapshot = self._fall_back(snapshot.token, error)
            return question(snapshot)

    def _snapshot(self, for_heads: bool) -> Snapshot:
        if self._cache.token == self.generation():
            return self._cache
        with self._cache_lock, paused_collector():
            try:
                data, token, mtime_ns = self._read(self._path)
            except OSError as error:
                raise fs.store_error(error, WHAT, "read") from error
            if token != self._cache.token:
                self._cache = _EMPTY if data is None else self._decode(data, token, mtime_ns, for_heads)
            return self._cache

    def _read(self, path: Path) -> tuple[bytes | None, str, int]:
        """Content, token and modification time of one and the same file; None where there is none. Raises `OSError`."""
        try:
            descriptor = fs.open_regular(path)
        except FileNotFoundError:
            return None, _EMPTY.token, 0
        try:
            status = os.fstat(descriptor)
            if status.st_size > self._limits.max_bytes:
                raise OSError(errno.EFBIG, f"is larger than {self._limits.max_bytes:,} bytes")
            # In one piece where the system gives it: 25 MB in chunks cost 26 ms more to put together.
            data = os.read(descriptor, status.st_size + 1)
            rest = fs.read_all(descriptor, self._limits.max_bytes - len(data))
            return data + rest if rest else data, _token(status), status.st_mtime_ns
        finally:
            os.close(descriptor)

    def _decode(self, data: bytes, token: str, mtime_ns: int, for_heads: bool) -> Snapshot:
        if for_heads and self._cache is _EMPTY:
            heads = parse_heads(data)
            if heads is not None:
                return Snapshot(token, data, heads=heads, mtime_ns=mtime_ns)
        try:
            file = parse(data)
        except StoreError as error:
            if not is_corrupt(error):
                raise
            return self._fall_back(token, error)
        problem = registry_health.newer_problem(file.schema) if file.schema > SCHEMA else None
        return Snapshot(token, file.tables, schema=file.schema, mtime_ns=mtime_ns, before=self._cache, problem=problem)

    def _fall_back(self, token: str, error: StoreError) -> Snapshot:
        """The newest kept generation that can be read, in the place of a damaged file; else raises `error`."""
        with suppress(OSError), paused_collector():
            for path in self._generations.newest_first():
                kept = self._kept(path)
                if kept is not None:
                    problem = registry_health.damaged_problem(path.name)
                    return Snapshot(token, kept.tables, schema=kept.schema, problem=problem)
        self._broken = token, error
        raise error

    def _kept(self, path: Path, *, must_read: bool = False) -> Snapshot | None:
        """A kept generation; None where it is damaged itself, or cannot be read.

        With `must_read`, raises `OSError` where a file is there that cannot be read now: it may hold what nothing else
        has.
        """
        try:
            data, token, _mtime_ns = self._read(path)
            if data is None:
                return None
            file = parse(data)
            snapshot = Snapshot(token, file.tables, schema=file.schema)
            snapshot.check().heads()
        except StoreError:
            return None
        except OSError as error:
            if must_read and error.errno not in _NO_FILE:
                raise
            return None
        return snapshot

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
            raise ReadOnlyError(
                "This home was opened for reading only; nothing was changed.", hint="Open it without --read-only."
            )
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
        with suppress(OSError), self._cache_lock:  # without it, the next reader reads the file
            status = os.stat(self._path, follow_symlinks=False)
            self._cache = Snapshot(_token(status), tables, mtime_ns=status.st_mtime_ns, before=before)

    # ---- repair ---------------------------------------------------------------------------------------------------

    def repair(self) -> str:
        """Mend a damaged file from what can still be read of it and from the newest kept generation.

        Returns one sentence on what was done; the damaged file is set aside, never removed. Raises `StoreError`:
        `store.corrupt` when nothing could be saved, in which case the file stays where it is.
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
            if data is None or (file is not None and registry_repair.is_whole(file.tables)):
                return "The registry is whole; nothing had to be repaired."
            if file is not None and file.schema > SCHEMA:
                raise registry_health.error_of(registry_health.newer_problem(file.schema))
            return self._mend(data, mtime_ns)

    def _mend(self, data: bytes, mtime_ns: int) -> str:
        found = registry_repair.salvage(data)
        salvaged = len(found.models)
        try:
            found_kept = ((path, self._kept(path, must_read=True)) for path in self._generations.newest_first())
            name, kept = next(((path.name, kept) for path, kept in found_kept if kept is not None), ("", None))
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        added = registry_repair.merge(found, registry_repair.readable(kept or _EMPTY))
        if found.is_empty() and kept is None:
            raise registry_health.hopeless()
        try:
            aside = set_aside(self._path, time.time_ns())
            fs.write_atomic(self._path, dump(found.tables()), newer_than_ns=mtime_ns)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error
        return registry_repair.sentence(salvaged, added, name, aside.name)


def _token(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"
