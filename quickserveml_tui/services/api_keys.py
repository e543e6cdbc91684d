"""API keys: made, listed, rotated, revoked."""

from __future__ import annotations

import builtins
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from quickserveml_tui.core.access import SCOPES, ApiKey, CreatedKey, DamagedKey, Permission, RateLimit
from quickserveml_tui.core.clock import unix_time
from quickserveml_tui.core.errors import ConflictError, DataError, NotFoundError, UsageError
from quickserveml_tui.core.key_text import new_key, secret_digest
from quickserveml_tui.core.refs import check_name
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.storage.api_keys import MAX_KEYS, KeyStore

MAX_PATTERNS = 64
MAX_NOTE = 500
MAX_LIFE_S = 100 * 365 * 86_400.0
_PATTERN = re.compile(r"[A-Za-z0-9._*?\[\]!-]{1,128}", re.ASCII)


class KeysService:
    """`KeysPort` over the key file of a home. `clock` gives Unix time."""

    def __init__(self, store: KeyStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def create(
        self,
        name: str,
        *,
        scopes: Sequence[Permission] = (Permission.INFER,),
        models: Sequence[str] = (),
        limit: RateLimit = RateLimit(),  # noqa: B008 - frozen
        expires_in_s: float | None = None,
        note: str = "",
    ) -> CreatedKey:
        """A new key; its text cannot be had again.

        Raises `ConflictError` (`key.taken`, `key.too_many`), and `UsageError`: `name.invalid`, `key.scope`,
        `key.pattern`, `key.limit`, `key.expiry`, `key.note`.
        """
        now = self._clock()
        identity, secret, text = new_key()
        key = ApiKey(
            id=identity,
            name=check_name(name),
            secret_sha256=secret_digest(secret),
            created_at=_written(now),
            scopes=_checked_scopes(scopes),
            models=_checked_patterns(models),
            limit=_checked_limit(limit),
            expires_at="" if expires_in_s is None else _written(now + _checked_life(expires_in_s)),
            note=_checked_note(note),
        )

        def work(keys: Sequence[ApiKey]) -> tuple[builtins.list[ApiKey], CreatedKey]:
            if any(item.name == key.name and self._holds_name(item, now) for item in keys):
                raise ConflictError(
                    f"There is a key named {key.name} already.",
                    hint="Choose another name, or rotate or revoke that one.",
                    code="key.taken",
                )
            return [*_with_room(keys, now), key], CreatedKey(key, text)

        return self._store.edit(work)

    def list(self, *, include_revoked: bool = False) -> tuple[ApiKey, ...]:
        """Keys by name, those of one name oldest first. Raises `StoreError`."""
        found = [key for key in self._store.read().keys if include_revoked or not key.revoked_at]
        return tuple(sorted(found, key=lambda key: (key.name, key.created_at)))

    def damaged(self) -> tuple[DamagedKey, ...]:
        """Records of the file that cannot be read: they open nothing, and stay in it. Raises `StoreError`."""
        return self._store.read().damaged

    def get(self, key: str) -> ApiKey:
        """A key by id or name; of several by one name the newest that is not revoked.

        Raises `NotFoundError` (`key.not_found`), `DataError` (`key.damaged`).
        """
        records = self._store.read()
        return _select(records.keys, key, records.damaged)

    def rotate(self, key: str, *, overlap_s: float = 86_400.0) -> CreatedKey:
        """A new key with the same name, scopes, models, limits, note and length of life.

        The old one works until the overlap is over or it expires, whichever is first. Raises `NotFoundError`,
        `ConflictError`: `key.revoked`, `key.rotated`; `UsageError` (`key.overlap`), `DataError` (`key.damaged`).
        """
        if not 0 <= overlap_s <= MAX_LIFE_S:
            raise UsageError(
                "The overlap must be between 0 and 100 years.", hint="Write it like 12h or 1d.", code="key.overlap"
            )
        now = self._clock()
        identity, secret, text = new_key()

        def work(keys: Sequence[ApiKey]) -> tuple[builtins.list[ApiKey], CreatedKey]:
            old = _select(keys, key, self._store.read().damaged)
            _refuse_rotation(old)
            life = unix_time(old.expires_at) - unix_time(old.created_at) if old.expires_at else None
            new = replace(
                old,
                id=identity,
                secret_sha256=secret_digest(secret),
                created_at=_written(now),
                expires_at="" if life is None else _written(now + life),
            )
            end = now + overlap_s if not old.expires_at else min(now + overlap_s, unix_time(old.expires_at))
            ending = replace(old, expires_at=_written(end), replaced_by=identity)
            kept = [ending if item.id == old.id else item for item in keys]
            return [*_with_room(kept, now), new], CreatedKey(new, text)

        return self._store.edit(work)

    def revoke(self, key: str) -> ApiKey:
        """End a key at once: the one with that id, or every one of that name. One that is revoked stays as it is.

        Raises `NotFoundError` (`key.not_found`).
        """
        now = _written(self._clock())

        def work(keys: Sequence[ApiKey]) -> tuple[builtins.list[ApiKey], ApiKey]:
            found = _select(keys, key, self._store.read().damaged)
            by_id = any(item.id == key for item in keys)
            ended = [
                replace(item, revoked_at=now)
                if not item.revoked_at and (item.id == found.id or (not by_id and item.name == key))
                else item
                for item in keys
            ]
            return ended, next(item for item in ended if item.id == found.id)

        return self._store.edit(work)

    @property
    def path(self) -> Path:
        """The file that holds the keys; servers watch it."""
        return self._store.path

    def token(self) -> str:
        """Changes with every change of the keys; one `stat`. Raises `StoreError`."""
        return self._store.token()

    def _holds_name(self, key: ApiKey, now: float) -> bool:
        """Whether no other key may take its name: one that was rotated frees it when its overlap is over."""
        return not key.revoked_at and not (key.replaced_by and has_expired(key, now))


def has_expired(key: ApiKey, now: float) -> bool:
    """Whether a key's time is over at Unix time `now`."""
    return bool(key.expires_at) and unix_time(key.expires_at) <= now


def is_live(key: ApiKey, now: float) -> bool:
    """Whether a key opens anything at Unix time `now`."""
    return not key.revoked_at and not has_expired(key, now)


def _written(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _select(keys: Sequence[ApiKey], wanted: str, damaged: Sequence[DamagedKey]) -> ApiKey:
    for item in keys:
        if item.id == wanted:
            return item
    named = [item for item in keys if item.name == wanted]
    if not named and any(wanted in {item.id, item.name} for item in damaged if wanted):
        raise DataError(
            f"The record of the key {safe_text(wanted, 60)} is damaged: it opens nothing.",
            hint="Mend or delete its record in keys.json, or create a new key in its place.",
            code="key.damaged",
        )
    if not named:
        raise NotFoundError(
            f"There is no key “{safe_text(wanted, 60)}”.", hint="`quickserveml keys list` shows them.",
            code="key.not_found",
        )  # fmt: skip
    return max(named, key=lambda item: (not item.revoked_at, not item.replaced_by, item.created_at))


def _refuse_rotation(key: ApiKey) -> None:
    if key.revoked_at:
        raise ConflictError(
            f"The key {key.name} ({key.id}) is revoked.", hint="Create a new one.", code="key.revoked"
        )  # fmt: skip
    if key.replaced_by:
        raise ConflictError(
            f"The key {key.id} was rotated already.",
            hint=f"Rotate the one in its place: {key.replaced_by}.",
            code="key.rotated",
        )


def _with_room(keys: Sequence[ApiKey], now: float) -> builtins.list[ApiKey]:
    """The keys with room for one more where dead ones can go, the oldest of them first."""
    kept = list(keys)
    if len(kept) >= MAX_KEYS:
        dead = next((item for item in kept if not is_live(item, now)), None)
        if dead is not None:
            kept.remove(dead)
    return kept


def _checked_scopes(scopes: Sequence[Permission]) -> tuple[Permission, ...]:
    known = tuple(dict.fromkeys(scopes))
    if not known or any(item not in SCOPES for item in known):
        raise UsageError(
            "A key needs at least one scope, of those that there are.",
            hint=f"Scopes: {', '.join(SCOPES)}.",
            code="key.scope",
        )
    return tuple(item for item in SCOPES if item in known)


def _checked_patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    if len(patterns) > MAX_PATTERNS or not all(map(_PATTERN.fullmatch, patterns)):
        raise UsageError(
            "The model patterns cannot be used.",
            hint=f"At most {MAX_PATTERNS} patterns of the characters of model names with * ? and [..], like resnet*.",
            code="key.pattern",
        )
    return tuple(dict.fromkeys(patterns))


def _checked_limit(limit: RateLimit) -> RateLimit:
    rate, burst, day = limit.per_second, limit.burst, limit.per_day
    fits = (rate == 0 or 0.001 <= rate <= 1e6) and 0 <= burst <= 10**6 and 0 <= day <= 10**12
    if not fits or (burst and not rate):
        raise UsageError(
            "The limits of a key are out of range.",
            hint="0.001 to 1,000,000 a second with a burst of at most 1,000,000, and at most 10^12 a day; "
            "a burst needs a rate.",
            code="key.limit",
        )
    return RateLimit(float(rate), int(burst), int(day))


def _checked_life(seconds: float) -> float:
    if not 1 <= seconds <= MAX_LIFE_S:
        raise UsageError(
            "A key lives between a second and 100 years.", hint="Write it like 12h or 90d.", code="key.expiry"
        )
    return seconds


def _checked_note(note: str) -> str:
    if len(note) > MAX_NOTE:
        raise UsageError(f"A note has at most {MAX_NOTE} characters.", hint="Shorten it.", code="key.note")
    return safe_text(note, MAX_NOTE)
