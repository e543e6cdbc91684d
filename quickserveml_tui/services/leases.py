"""Holding leases."""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol
from uuid import uuid4

from quickserveml_tui.core.catalog import Resolved
from quickserveml_tui.core.clock import instant
from quickserveml_tui.core.errors import ConflictError, StoreError
from quickserveml_tui.core.job_records import Lease
from quickserveml_tui.core.text import safe_text

_log = logging.getLogger(__name__)
JOIN_S = 30.0


class LeaseStore(Protocol):
    """What a keeper needs of the state database."""

    def acquire_lease(
        self, name: str, owner: str, ttl_s: float, *, note: str = "", digests: Sequence[str] = ()
    ) -> Lease | None:
        """See `StateStore`."""
        ...

    def renew_lease(self, name: str, owner: str, ttl_s: float) -> bool:
        """See `StateStore`."""
        ...

    def release_lease(self, name: str, owner: str) -> None:
        """See `StateStore`."""
        ...


def new_owner() -> str:
    """A name for one holder of leases, never used before: the machine, the process, and a random part."""
    return f"{safe_text(platform.node() or 'localhost', 60)}:{os.getpid()}:{uuid4().hex[:12]}"


class LeaseKeeper:
    """Holds a lease from `start` to `stop`: a thread renews it every third of its time.

    A database that is busy, full or failing for a while does not lose the lease: the keeper goes on trying until the
    lease has run out. `lost` is set when somebody else has it, when it was taken away, or when it ran out unrenewed;
    a keeper that has lost never claims again by itself. With `reclaim`, for names that nobody else uses, a lease that
    was taken away after it ran out is claimed anew instead.
    """

    def __init__(
        self,
        state: LeaseStore,
        name: str,
        owner: str = "",
        ttl_s: float = 15.0,
        *,
        note: str = "",
        digests: Sequence[str] = (),
        reclaim: bool = False,
    ) -> None:
        self._state = state
        self.name = name
        self.owner = owner or new_owner()
        self.ttl_s = ttl_s
        self.lost = threading.Event()
        """Set once the lease is no longer ours."""
        self._note = note
        self._digests = tuple(digests)
        self._reclaim = reclaim
        self._ends_s = 0.0
        """Until when the lease is certainly ours, by the clock that counts from boot."""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def held(self) -> bool:
        """Whether the lease is certainly ours at this moment."""
        return self._thread is not None and not self.lost.is_set() and instant().boot_s < self._ends_s

    def start(self) -> Lease | None:
        """Claim the lease and keep it; returns None, or the live lease of the other owner who has it.

        Raises `StoreError` when the database cannot be written.
        """
        other = self._claim()
        if other is not None:
            return other
        self._stopping.clear()
        self._thread = threading.Thread(target=self._keep, name=f"lease {self.name}", daemon=True)
        self._thread.start()
        return None

    def stop(self) -> None:
        """Stop renewing and give the lease back; safe to call twice. Never raises for a database that fails.

        A lease that cannot be given back ends by itself.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping.set()
        thread.join(JOIN_S)
        if self.lost.is_set():
            return
        try:
            self._state.release_lease(self.name, self.owner)
        except StoreError as error:
            _log.warning("The lease %s could not be given back: %s", self.name, error.message)

    def __enter__(self) -> LeaseKeeper:
        other = self.start()
        if other is not None:
            raise ConflictError(
                f"{safe_text(self.name, 80)} is in use by {safe_text(other.owner, 80)}.",
                hint="Wait until it has ended, then try again.",
                code="lease.held",
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _claim(self) -> Lease | None:
        # The time is taken before the claim is written: what others see ends later than what we count on.
        before_s = instant().boot_s
        other = self._state.acquire_lease(self.name, self.owner, self.ttl_s, note=self._note, digests=self._digests)
        if other is None:
            self._ends_s = before_s + self.ttl_s
        return other

    def _keep(self) -> None:
        pause_s = self.ttl_s / 3
        while not self._stopping.wait(pause_s):
            try:
                if not self._renew():
                    self.lost.set()
                    return
                pause_s = self.ttl_s / 3
            except StoreError as error:
                if instant().boot_s >= self._ends_s:
                    _log.warning("The lease %s ran out: %s", self.name, error.message)
                    self.lost.set()
                    return
                pause_s = min(self.ttl_s / 15, 1.0)

    def _renew(self) -> bool:
        before_s = instant().boot_s
        if self._state.renew_lease(self.name, self.owner, self.ttl_s):
            self._ends_s = before_s + self.ttl_s
            return True
        return self._reclaim and self._claim() is None


@contextmanager
def holding(state: LeaseStore, models: Sequence[Resolved], purpose: str, *, ttl_s: float = 60.0) -> Iterator[None]:
    """Keep the files of these models from being collected for as long as the block takes.

    Files that are not registered need no lease. Where none can be had, in a home that may only be read or on a full
    disk, the block runs without: what a model needs is collected only after it was deleted.
    """
    versions = [model.version for model in models if model.version is not None]
    if not versions:
        yield
        return
    digests = sorted(frozenset[str]().union(*(item.blobs | {item.artifact.digest} for item in versions)))
    owner = new_owner()
    keeper = LeaseKeeper(state, f"{purpose}:{owner}", owner, ttl_s, note=purpose, digests=digests, reclaim=True)
    try:
        keeper.start()
    except StoreError as error:
        _log.warning("What is in use is not kept from being collected: %s", error.message)
    try:
        yield
    finally:
        keeper.stop()
