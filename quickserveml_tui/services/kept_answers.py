"""Answers under idempotency keys: a request that comes once more gets the answer that it had."""

from __future__ import annotations

import zlib
from pathlib import Path

import msgspec

from quickserveml_tui.core.errors import ConflictError, UsageError
from quickserveml_tui.services.job_process import ProcessName
from quickserveml_tui.storage.kept_answers import KeptAnswers

MAX_BODY = 256 * 1024
"""Longest body, compressed, that is kept; the key of a longer answer can be used again."""


class IdempotencyMismatchError(UsageError):
    """The key belongs to another request."""

    default_code = "idempotency.mismatch"
    http_status = 422


class AnswersService:
    """`AnswersPort` on a file in the home; with `read_only` nothing is kept, as nothing can be changed."""

    def __init__(self, home: Path, *, read_only: bool = False) -> None:
        self._store = None if read_only else KeptAnswers(home / "answers.db")
        self._owner = str(ProcessName.own())

    def claim(self, caller: str, key: str, request: str) -> tuple[int, dict[str, str], bytes] | None:
        """Take a key for a request; see `AnswersPort.claim`."""
        if self._store is None:
            return None
        kept = self._store.claim(caller, key, request, self._owner, _is_alive)
        if kept is None:
            return None
        if kept.request != request:
            raise IdempotencyMismatchError(
                "This idempotency key was used for another request.", hint="Use a new key for each request."
            )
        if kept.status is None:
            raise ConflictError(
                "The first request with this idempotency key is still under way.",
                hint="Wait, then send it once more.",
                code="idempotency.busy",
            )
        return kept.status, msgspec.json.decode(kept.headers, type=dict[str, str]), zlib.decompress(kept.body)

    def keep(self, caller: str, key: str, status: int, headers: dict[str, str], body: bytes) -> None:
        """Keep the answer, unless it is too long."""
        if self._store is None:
            return
        packed = zlib.compress(body, 1)
        if len(packed) > MAX_BODY:
            self._store.release(caller, key, self._owner)
        else:
            self._store.keep(caller, key, self._owner, status=status, headers=msgspec.json.encode(headers), body=packed)

    def release(self, caller: str, key: str) -> None:
        """Give the key back."""
        if self._store is not None:
            self._store.release(caller, key, self._owner)


def _is_alive(owner: str) -> bool:
    """Whether a process may still answer; one that cannot be seen from here counts as alive until its keys expire."""
    name = ProcessName.parse(owner)
    return name is None or not name.can_be_seen or name.is_alive
