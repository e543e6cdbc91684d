"""Leases in the state database: claims that end by themselves.

The rule of time. A lease is written with two ends: one by the clock that counts from the boot of the machine, which
nobody can set, and one by the wall clock. Whoever reads it on the same boot goes by the first alone, so that setting
the wall clock neither ends a lease early nor keeps it alive. Whoever reads it on another boot or machine can only go
by the wall clock, and by no more than its `ttl_s`: the first one who is refused a lease of another boot stamps it with
an end by his own, so that it holds him off for `ttl_s` at most, whatever the wall clock does afterwards.

A claim is one transaction under the write lock of the database, so two processes never both get it.
"""
# Statements are put together from names of this module only; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from quickserveml_tui.core.clock import Instant, utc_now
from quickserveml_tui.core.job_records import Lease
from quickserveml_tui.storage.state_errors import damaged
from quickserveml_tui.storage.state_file import StateFile, View

Clock: TypeAlias = Callable[[], Instant]
LEASE_COLUMNS = "name, owner, ttl_s, expires_at, boot, boot_expires_s, acquired_at, note, digests"
_Row: TypeAlias = tuple[str, str, float, float, str, float, str, str, bytes]


class StateLeases:
    """The part of `StateStore` about leases."""

    _file: StateFile
    _clock: Clock

    def acquire_lease(
        self, name: str, owner: str, ttl_s: float, *, note: str = "", digests: Sequence[str] = ()
    ) -> Lease | None:
        """Claim `name` for `ttl_s` seconds.

        Returns None when it is ours now, else the live lease of another owner. An owner may claim its own again.
        Raises `ValueError` for a `ttl_s` that is not above 0 and finite.
        """
        _check(ttl_s)
        with self._file.writing() as connection:
            now = self._clock()
            acquired_at = utc_now()
            held = connection.execute(f"SELECT {LEASE_COLUMNS} FROM leases WHERE name = ?", (name,)).fetchone()
            left_s = _left_s(held, now) if held is not None else 0.0
            if held is not None and held[1] != owner and left_s > 0:
                _stamp(connection, held, now, left_s)
                return _lease(held, now)
            if held is not None and held[1] == owner and left_s > 0:
                acquired_at = held[6]
            connection.execute(
                f"INSERT OR REPLACE INTO leases ({LEASE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(name, owner, ttl_s, now.wall_s + ttl_s, now.boot, now.boot_s + ttl_s, acquired_at, note),
                    msgspec.json.encode(list(digests)),
                ),
            )
        return None

    def renew_lease(self, name: str, owner: str, ttl_s: float) -> bool:
        """Prolong a claim, also one that ran out and that nobody took; False when it was lost or removed."""
        _check(ttl_s)
        if self._file.is_absent():
            return False
        with self._file.writing() as connection:
            now = self._clock()
            ends = now.wall_s + ttl_s, now.boot, now.boot_s + ttl_s
            renewed = connection.execute(
                "UPDATE leases SET ttl_s = ?, expires_at = ?, boot = ?, boot_expires_s = ?"
                " WHERE name = ? AND owner = ?",
                (ttl_s, *ends, name, owner),
            )
            return renewed.rowcount == 1

    def release_lease(self, name: str, owner: str) -> None:
        """Give a claim back; nothing happens when it is not ours."""
        if self._file.is_absent():
            return
        with self._file.writing() as connection:
            connection.execute("DELETE FROM leases WHERE name = ? AND owner = ?", (name, owner))

    def leases(self) -> tuple[Lease, ...]:
        """All leases by name, also those that ran out and were not taken away yet."""
        with self._file.reading() as view:
            rows = view.rows(f"SELECT {LEASE_COLUMNS} FROM leases ORDER BY name", since=2)
        now = self._clock()
        return tuple(_lease(row, now) for row in rows)

    def _ended_leases(self, connection: sqlite3.Connection) -> list[str]:
        now = self._clock()
        rows = connection.execute(f"SELECT {LEASE_COLUMNS} FROM leases").fetchall()
        return [row[0] for row in rows if _left_s(row, now) <= 0]


def live_digests(view: View, clock: Clock) -> frozenset[str]:
    """Digests of the blobs that live leases hold."""
    rows = view.rows(f"SELECT {LEASE_COLUMNS} FROM leases", since=2)
    now = clock()
    return frozenset(digest for row in rows if _left_s(row, now) > 0 for digest in _digests(row))


def _check(ttl_s: float) -> None:
    if not (ttl_s > 0 and math.isfinite(ttl_s)):
        raise ValueError(f"A lease cannot hold for {ttl_s} s.")


def _left_s(row: _Row, now: Instant) -> float:
    """How long the lease still holds, by the rule above; 0 or less when it has ended."""
    _name, _owner, ttl_s, expires_at, boot, boot_expires_s, *_ = row
    if boot and boot == now.boot:
        return boot_expires_s - now.boot_s
    return min(expires_at - now.wall_s, ttl_s)


def _stamp(connection: sqlite3.Connection, row: _Row, now: Instant, left_s: float) -> None:
    if now.boot and row[4] != now.boot:
        connection.execute(
            "UPDATE leases SET boot = ?, boot_expires_s = ? WHERE name = ?", (now.boot, now.boot_s + left_s, row[0])
        )


def _lease(row: _Row, now: Instant) -> Lease:
    name, owner, _ttl_s, _expires_at, _boot, _boot_expires_s, acquired_at, note, _ = row
    return Lease(name, owner, now.wall_s + _left_s(row, now), acquired_at, note, _digests(row))


def _digests(row: _Row) -> tuple[str, ...]:
    try:
        found: Any = msgspec.json.decode(row[8], type=tuple[str, ...])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise damaged(str(error)) from error
    return tuple(found)
