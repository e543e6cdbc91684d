"""`KeyGatekeeper`: knows callers by the API keys of a home, and follows the file of keys."""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from quickserveml_tui.core.access import ApiKey, DamagedKey, Permission, may
from quickserveml_tui.core.clock import unix_time
from quickserveml_tui.core.errors import NotPermittedError, QuickServeError, StoreError, UnauthenticatedError
from quickserveml_tui.core.key_text import secret_digest, split_key
from quickserveml_tui.server.access import ADMITTED, OpenGatekeeper, asks_for_keys, no_home
from quickserveml_tui.server.context import Admission, Gatekeeper
from quickserveml_tui.server.limits import DayClock, FailureLimit, Limiter
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.server.quota_file import QuotaFile
from quickserveml_tui.server.refusals import missing_key
from quickserveml_tui.server.shared_limits import Row, SharedLimits

logger = logging.getLogger(__name__)

WATCH_S = 1.0
LIMITS_FILE = "limits"
_WRITE_EVERY = 5
"""Looks at the key file per write of the counts."""
_NOBODY = "0" * 64
"""Digest of no secret: what an unknown key is compared with, so that it takes as long as a wrong one."""
_MAX_VALUE = 512
_HINT = "Send it as “Authorization: Bearer KEY” or “X-API-Key: KEY”."


class KeySource(Protocol):
    """Where keys come from: `KeysPort`, of which this much is needed."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    def list(self, *, include_revoked: bool = False) -> tuple[ApiKey, ...]:
        """All keys."""
        ...

    def damaged(self) -> tuple[DamagedKey, ...]:
        """Records that cannot be read."""
        ...

    def token(self) -> str:
        """Changes with every change."""
        ...


class KeyCaller:
    """The caller with a key: one object per key and process."""

    __slots__ = ("_limiter", "_scopes", "expires", "id", "key", "limited", "patterns")

    def __init__(self, key: ApiKey, limiter: Limiter | None) -> None:
        self.key = key
        self.id = key.id
        self.patterns = key.models
        """Patterns of the models that it reaches; empty reaches all."""
        self.expires = unix_time(key.expires_at) if key.expires_at else float("inf")
        """Unix time."""
        self.limited = limiter is not None
        self._scopes = key.scopes
        self._limiter = limiter

    @property
    def limiter(self) -> Limiter | None:
        """What counts its requests."""
        return self._limiter

    def allows(self, permission: Permission, model: str = "") -> bool:
        """Whether its scopes and model patterns cover this."""
        return may(self._scopes, self.patterns, permission, model)

    def admit(self, now: float) -> Admission:
        """Count one request at `now` (`time.monotonic`)."""
        return ADMITTED if self._limiter is None else self._limiter.admit(now)


class KeyGatekeeper:
    """`Gatekeeper` over the keys of a home. `start` begins to follow its file in a thread, `close` ends that.

    A file that cannot be read any more leaves the keys as they were, and says so in the log; one that is gone leaves
    none. Limits hold for all workers that have `shared` together. With a quota file, what keys used of their day
    survives restarts. Raises what `keys` raises.
    """

    def __init__(
        self,
        keys: KeySource,
        *,
        shared: SharedLimits | None = None,
        quotas: QuotaFile | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._shared = shared if shared is not None else SharedLimits()
        self._quotas = quotas
        self._wall = wall
        self._day = DayClock(time.monotonic(), wall)
        self._callers: dict[str, KeyCaller] = {}
        self._token = ""
        self._next_end = float("inf")
        self._problem = ""
        self._damaged: set[DamagedKey] = set()
        """Records that the log told of."""
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.version = 0
        """Changes with the keys, and when one expires."""
        self.failures = FailureLimit()
        """Attempts with keys that do not hold."""
        self.refused: Counter[str] = Counter()
        """Heads without a key that holds, by the code of the error; for metrics."""
        self.on_refused: Callable[[], None] | None = None
        """Called for each of them."""
        self._load(self._keys.token())
        self._restore()

    # ---- who it is

    def identify(self, headers: Sequence[tuple[bytes, bytes]]) -> KeyCaller:
        """The caller by its key. Raises `UnauthenticatedError`; see `Gatekeeper`, and `auth.malformed`."""
        try:
            return self._identify(headers)
        except NotPermittedError as error:
            self.refused[error.code] += 1
            if self.on_refused is not None:
                self.on_refused()
            raise

    def _identify(self, headers: Sequence[tuple[bytes, bytes]]) -> KeyCaller:
        parts = split_key(_sent_key(headers))
        if parts is None:
            raise _malformed("The key is mistyped or cut off: its checksum does not fit.", "Copy it again, whole.")
        identity, secret = parts
        caller = self._callers.get(identity)
        known = caller.key.secret_sha256 if caller is not None else _NOBODY
        if not hmac.compare_digest(secret_digest(secret), known) or caller is None:
            raise UnauthenticatedError(
                "This key is not known here.", hint="Ask whoever runs the server for a key.", code="auth.invalid"
            )
        if caller.key.revoked_at:
            raise UnauthenticatedError(
                "This key was revoked.", hint="Ask whoever runs the server for a new one.", code="auth.revoked"
            )
        if caller.expires <= self._wall():
            raise UnauthenticatedError(
                "This key has expired.", hint="Ask whoever runs the server for a new one.", code="auth.expired"
            )
        return caller

    # ---- following the file

    def start(self) -> None:
        """Follow the file of keys from now on."""
        self._thread = threading.Thread(target=self._watch, name="keys", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following, and keep what was used of the day."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(5.0)
        self.save()
        self._shared.close()

    def refresh(self) -> None:
        """Look once: take up keys that changed, and notice those that expired."""
        self._day.sync(time.monotonic())
        try:
            token = self._keys.token()
            if token != self._token:
                self._load(token)
            self._problem = ""
        except QuickServeError as error:
            if error.code != self._problem:
                self._problem = error.code
                logger.error("The keys stay as they were: %s %s", error.message, error.hint)  # noqa: TRY400
        except Exception as error:  # whoever follows the file must not die of what is in it
            if type(error).__name__ != self._problem:
                self._problem = type(error).__name__
                logger.exception("The keys stay as they were: their file cannot be understood")
        if self._next_end <= self._wall():
            self._next_end = self._first_end()
            self.version += 1

    def save(self) -> None:
        """Write what keys used of their day, in all workers."""
        if self._quotas is None:
            return
        now = time.monotonic()
        callers = self._callers.values()
        counted = {caller.id: caller.limiter.used(now) for caller in callers if caller.limiter is not None}
        try:
            self._quotas.write(self._day.number, {key: used for key, used in counted.items() if used})
        except OSError as error:
            logger.warning("The counts of daily quotas cannot be kept: %s", error.strerror)
            self._quotas = None

    def _watch(self) -> None:
        looks = 0
        while not self._stopped.wait(min(WATCH_S, max(self._next_end - self._wall(), 0.001))):
            self.refresh()
            looks += 1
            if looks % _WRITE_EVERY == 0 and self._shared.worker == 0:
                self.save()

    def _load(self, token: str) -> None:
        """Take up the keys of the file, which was `token` before it was read: a change meanwhile is seen next time."""
        now = time.monotonic()
        old = self._callers
        found: dict[str, KeyCaller] = {}
        keys = self._keys.list(include_revoked=True)
        rows = self._rows(keys)
        for key in keys:
            before = old.get(key.id)
            if before is not None and before.key == key:
                found[key.id] = before
            elif before is not None and before.key.limit == key.limit:
                found[key.id] = KeyCaller(key, before.limiter)
            else:
                row = rows.get(key.id)
                limiter = Limiter(key.limit, self._day, now, self._shared, row) if row is not None else None
                found[key.id] = KeyCaller(key, limiter)
        self._callers = found
        self._tell_of_damaged()
        self._token = token
        self._next_end = self._first_end()
        self.version += 1

    def _tell_of_damaged(self) -> None:
        damaged = set(self._keys.damaged())
        for record in damaged - self._damaged:
            logger.error(
                "The record of key %s in keys.json is damaged, and opens nothing: %s Mend or delete it, or create "
                "a new key in its place; the other keys work on.",
                record.label,
                record.detail,
            )
        self._damaged = damaged

    def _rows(self, keys: Iterable[ApiKey]) -> Mapping[str, Row]:
        limited = [key.id for key in keys if not key.limit.unlimited]
        try:
            return self._shared.rows(limited) if limited else {}
        except OSError as error:
            raise _not_shared(error) from error

    def _first_end(self) -> float:
        """When the next key expires, Unix time."""
        now = self._wall()
        return min((item.expires for item in self._callers.values() if item.expires > now), default=float("inf"))

    def _restore(self) -> None:
        if self._quotas is None:
            return
        kept = self._quotas.read()
        for identity, used in kept.used.items():
            caller = self._callers.get(identity)
            if caller is not None and caller.limiter is not None and used > 0:
                caller.limiter.restore(used, kept.day, time.monotonic())


def _sent_key(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """The one key that a request carries. Raises `UnauthenticatedError`: `auth.missing`, `auth.malformed`."""
    found: set[bytes] = set()
    for name, value in headers:
        if name == b"x-api-key":
            found.add(value.strip())
        elif name == b"authorization":
            scheme, _, rest = value.strip().partition(b" ")
            if scheme.lower() != b"bearer" or not rest.strip():
                raise _malformed("The Authorization header holds no bearer key.", _HINT)
            found.add(rest.strip())
    if not found:
        raise missing_key()
    if len(found) > 1:
        raise _malformed("The request carries two different keys.", "Send one.")
    sent = found.pop()
    if len(sent) > _MAX_VALUE:
        raise _malformed("The key is far too long.", _HINT)
    return sent.decode("latin-1")


def _malformed(message: str, hint: str) -> UnauthenticatedError:
    return UnauthenticatedError(message, hint=hint, code="auth.malformed")


def _not_shared(error: OSError) -> StoreError:
    return StoreError(
        "The limits of the keys cannot be shared among the workers.",
        hint="Check the folder for temporary files, and its free space.",
        detail=error.strerror or "",
    )


def open_gatekeeper(
    options: ServeOptions, keys: KeySource | None, *, worker: int = 0, folder: Path | None = None
) -> Gatekeeper:
    """The gatekeeper of a worker, following the keys already; `KeyGatekeeper.close` ends one that asks for keys.

    Workers share the limits of keys by a file in `folder`. What keys used of their day is kept in the home of the
    options, for servers on a port of their own. Raises `UsageError` (`usage.serve`) where keys are asked for and there
    is no home, `StoreError` where limits cannot be shared, and what `keys` raises.
    """
    if not asks_for_keys(options):
        return OpenGatekeeper()
    if keys is None:
        raise no_home()
    workers = max(options.workers, 1)
    quotas = None
    if options.home and options.port:
        quotas = QuotaFile(Path(options.home), options.host, options.port)
    gatekeeper = KeyGatekeeper(keys, shared=_shared_limits(folder, workers, worker), quotas=quotas)
    gatekeeper.start()
    return gatekeeper


def _shared_limits(folder: Path | None, workers: int, worker: int) -> SharedLimits:
    if folder is None:
        return SharedLimits()
    try:
        return SharedLimits(folder / LIMITS_FILE, workers=workers, worker=worker)
    except OSError as error:
        raise _not_shared(error) from error
