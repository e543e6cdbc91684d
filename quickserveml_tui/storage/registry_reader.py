"""Reading the registry file: whole states, decoded as far as they are asked about, older ones where it is damaged."""
# Plain `os` calls, so that fault tests can count and break every one of them.
# ruff: noqa: PTH116

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from quickserveml_tui.core.care import StoreProblem
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.heads import ModelHead
from quickserveml_tui.core.models import ModelRecord, TrashEntry
from quickserveml_tui.storage import fs, registry_health, registry_repair
from quickserveml_tui.storage.registry_edit import RegistryLimits
from quickserveml_tui.storage.registry_generations import FOLDER, RegistryGenerations
from quickserveml_tui.storage.registry_schema import SCHEMA, WHAT, is_corrupt, parse, parse_heads
from quickserveml_tui.storage.registry_snapshot import Snapshot, newest_first, paused_collector, spare_collector

T = TypeVar("T")
EMPTY = Snapshot("0", {})
"""The registry before its first write."""
_NO_FILE = frozenset({errno.EISDIR, errno.EINVAL, errno.ELOOP})
"""What `fs.open_regular` raises for anything but a regular file."""


class RegistryReader:
    """The part of `TinyDbRegistry` that reads; it takes no lock and creates nothing."""

    def __init__(self, path: Path, *, read_only: bool, limits: RegistryLimits) -> None:
        self._path = path
        self._lock_path = path.with_name(path.name + ".lock")
        self._read_only = read_only
        self._limits = limits
        self._generations = RegistryGenerations(path.with_name(FOLDER))
        self._cache_lock = threading.Lock()
        self._cache = EMPTY
        self._broken: tuple[str, StoreError] | None = None
        """State of the file in which a document turned out damaged while nothing older could be shown."""

    def generation(self) -> str:
        """A token that changes with every write: inode, size and modification time, which writes keep ascending."""
        try:
            return file_token(os.stat(self._path, follow_symlinks=False))
        except FileNotFoundError:
            return EMPTY.token
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

    def trash_room(self) -> int:
        """How many more deleted models and versions the trash takes."""
        return max(self._limits.max_trash - len(self._ask(Snapshot.trash)), 0)

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
        now = self.generation()
        if now == EMPTY.token:
            return self._without_file()
        if self._cache.token == now:
            return self._cache
        with self._cache_lock, paused_collector():
            try:
                data, token, mtime_ns = self._read(self._path)
            except OSError as error:
                raise fs.store_error(error, WHAT, "read") from error
            if token != self._cache.token:
                self._cache = self._gone() if data is None else self._decode(data, token, mtime_ns, for_heads)
            return self._cache

    def _without_file(self) -> Snapshot:
        """Nothing while nothing was ever written; else what was kept of a file that is gone. Raises `StoreError`."""
        with self._cache_lock:
            # One that was read already stays: the file is missing no less where its generations go too.
            if self._cache.token != EMPTY.token or self._cache.problem is None:
                self._cache = self._gone()
            return self._cache

    def _gone(self) -> Snapshot:
        """The first write leaves a file, and no write takes it away: where generations are kept, it was lost."""
        try:
            has_some = bool(self._generations.newest_first())
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        return self._newest_kept(EMPTY.token, registry_health.gone()) if has_some else EMPTY

    def _read(self, path: Path) -> tuple[bytes | None, str, int]:
        """Content, token and modification time of one and the same file; None where there is none. Raises `OSError`."""
        try:
            descriptor = fs.open_regular(path)
        except FileNotFoundError:
            return None, EMPTY.token, 0
        try:
            status = os.fstat(descriptor)
            if status.st_size > self._limits.max_bytes:
                raise OSError(errno.EFBIG, f"is larger than {self._limits.max_bytes:,} bytes")
            # In one piece where the system gives it: 25 MB in chunks cost 26 ms more to put together.
            data = os.read(descriptor, status.st_size + 1)
            rest = fs.read_all(descriptor, self._limits.max_bytes - len(data))
            return data + rest if rest else data, file_token(status), status.st_mtime_ns
        finally:
            os.close(descriptor)

    def _decode(self, data: bytes, token: str, mtime_ns: int, for_heads: bool) -> Snapshot:
        if for_heads and self._cache is EMPTY:
            heads = parse_heads(data)
            if heads is not None:
                spare_collector(len(heads))
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
        try:
            return self._newest_kept(token, error)
        except StoreError:
            self._broken = token, error
            raise

    def _newest_kept(self, token: str, error: StoreError) -> Snapshot:
        """The newest kept generation that can be read, with the problem that `error` tells of; else raises `error`."""
        with suppress(OSError), paused_collector():
            for path in self._generations.newest_first():
                kept = self._kept(path)
                if kept is not None:
                    problem = registry_health.shown_problem(error.code, path.name)
                    return Snapshot(token, kept.tables, schema=kept.schema, problem=problem)
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


def file_token(status: os.stat_result) -> str:
    """A token of a file: inode, size and modification time."""
    return f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"
