"""API keys in one TinyDB document, changed by locked transactions that replace the file atomically."""
# Plain `os` calls, so that fault tests can count and break every one of them.
# ruff: noqa: PTH116

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from tinydb import TinyDB

from quickserveml_tui.core.access import SCOPES, ApiKey, DamagedKey
from quickserveml_tui.core.clock import unix_time
from quickserveml_tui.core.errors import OPEN_FOR_WRITING, ConflictError, ReadOnlyError, StoreError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.documents import newer_schema, to_document
from quickserveml_tui.storage.registry_tables import TableStorage

WHAT = "file of API keys"
SCHEMA = 1
MAX_KEYS = 10_000
MAX_BYTES = 64 * 1024 * 1024
NO_FILE = "0"
"""Token of a home without keys."""
_META, _KEYS = "_meta", "keys"
_FILE = msgspec.json.Decoder(dict[str, dict[str, msgspec.Raw]])
_KEY = msgspec.json.Decoder(ApiKey)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SHOWN = 128
T = TypeVar("T")


class _Meta(msgspec.Struct):
    schema: int


class KeyRecords(NamedTuple):
    """What the file holds."""

    keys: tuple[ApiKey, ...]
    """Oldest first."""
    damaged: tuple[DamagedKey, ...]
    """Records that cannot be read: they are none of the keys, and every write keeps them as they are."""


class _Damaged(NamedTuple):
    raw: msgspec.Raw
    detail: str


class KeyStore:
    """The keys of a home, in `keys.json` with mode 0600; any number of threads and processes may use it at once.

    A record that cannot be read costs no other key.

    Reads take no lock: the file is replaced whole. Writers share the registry's lock, under which the temporary files
    of the home's root are made and cleaned up.
    """

    def __init__(self, path: Path, read_only: bool = False, *, lock_timeout_s: float = 10.0) -> None:
        self._path = path
        self._read_only = read_only
        self._lock_timeout_s = lock_timeout_s
        self._thread_lock = threading.Lock()

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def token(self) -> str:
        """Changes with every write: inode, size and modification time, which writes keep ascending.

        Raises `StoreError`.
        """
        try:
            status = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return NO_FILE
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        return f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"

    def read(self) -> KeyRecords:
        """All keys. Raises `StoreError`: `store.corrupt`, `store.newer_schema`."""
        keys, damaged = _decode(self._tables()[0].get(_KEYS, {}))
        return KeyRecords(keys, tuple(_described(*item) for item in damaged))

    def edit(self, work: Callable[[Sequence[ApiKey]], tuple[Sequence[ApiKey], T]]) -> T:
        """Run `work` on all keys in one transaction: it returns what they are to be, and a result.

        Durable once it returns. Raises `StoreError`, `ReadOnlyError`, and `ConflictError` (`key.too_many`).
        """
        if self._read_only:
            raise ReadOnlyError("This home was opened for reading only; nothing was changed.", hint=OPEN_FOR_WRITING)
        try:
            fs.make_private_dir(self._path.parent)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error
        lock = self._path.with_name("registry.json.lock")
        with self._thread_lock, fs.locked(lock, WHAT, timeout_s=self._lock_timeout_s):
            tables, mtime_ns = self._tables()
            old, damaged = _decode(tables.get(_KEYS, {}))
            new, result = work(old)
            if len(new) > MAX_KEYS:
                raise ConflictError(
                    f"This home has {MAX_KEYS:,} keys, the most there can be.",
                    hint="Revoke keys that nobody needs.",
                    code="key.too_many",
                )
            if tuple(new) != old:
                self._write(tables, new, damaged, mtime_ns)
        return result

    def _tables(self) -> tuple[dict[str, dict[str, msgspec.Raw]], int]:
        """The tables of the file without its head, and its modification time; none where there is no file."""
        try:
            descriptor = fs.open_regular(self._path)
        except FileNotFoundError:
            return {}, 0
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        try:
            mtime_ns = os.fstat(descriptor).st_mtime_ns
            data = fs.read_all(descriptor, MAX_BYTES)
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        finally:
            os.close(descriptor)
        return _parse(data), mtime_ns

    def _write(
        self,
        tables: dict[str, dict[str, msgspec.Raw]],
        keys: Sequence[ApiKey],
        damaged: Sequence[_Damaged],
        mtime_ns: int,
    ) -> None:
        storage = TableStorage({name: table for name, table in tables.items() if name != _KEYS})
        TinyDB(storage=lambda: storage).table(_KEYS).insert_multiple(to_document(key) for key in keys)
        written = storage.raw_tables(are_checked=True)
        kept = {str(number): item.raw for number, item in enumerate(damaged, len(keys) + 1)}
        data = msgspec.json.encode({_META: {"1": _Meta(SCHEMA)}, **written, _KEYS: {**written.get(_KEYS, {}), **kept}})
        try:
            fs.write_atomic(self._path, data, newer_than_ns=mtime_ns)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error


def _parse(data: bytes) -> dict[str, dict[str, msgspec.Raw]]:
    try:
        tables = _FILE.decode(data)
        meta = msgspec.json.decode(tables.pop(_META, {}).get("1", msgspec.Raw(b"{}")), type=_Meta)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(str(error)) from error
    if meta.schema < 1:
        raise _damaged("The file names no schema.")
    if meta.schema > SCHEMA:
        raise newer_schema(WHAT, meta.schema, SCHEMA)
    return tables


def _decode(table: Mapping[str, msgspec.Raw]) -> tuple[tuple[ApiKey, ...], tuple[_Damaged, ...]]:
    """The keys, and the records that are none, in the order of the table."""
    keys: list[ApiKey] = []
    damaged: list[_Damaged] = []
    for _number, raw in sorted(table.items(), key=lambda item: _place(item[0])):
        try:
            keys.append(_checked(_KEY.decode(raw)))
        except (ValueError, OverflowError, OSError, RecursionError) as error:
            damaged.append(_Damaged(raw, safe_text(str(error), 200)))
    return tuple(keys), tuple(damaged)


def _place(number: str) -> float:
    return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else float("inf")


def _checked(key: ApiKey) -> ApiKey:
    """The key itself. Raises `ValueError` where others would stumble over what it says."""
    if not key.id or not key.name:
        raise ValueError("It has no id or no name.")
    if not _DIGEST.fullmatch(key.secret_sha256):
        raise ValueError("Its digest is none.")
    if any(scope not in SCOPES for scope in key.scopes):
        raise ValueError("It has a scope that no key can be given.")
    for moment in filter(None, (key.created_at, key.expires_at)):
        unix_time(moment)
    return key


def _described(raw: msgspec.Raw, detail: str) -> DamagedKey:
    try:
        fields: Any = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        fields = None
    said = fields if isinstance(fields, dict) else {}
    return DamagedKey(_text(said.get("id")), _text(said.get("name")), detail)


def _text(value: object) -> str:
    return safe_text(value, _SHOWN) if isinstance(value, str) else ""


def _damaged(detail: str) -> StoreError:
    return StoreError(
        f"The {WHAT} is damaged and cannot be read; it was left as it is.",
        hint="Move keys.json away and make new keys: no backup holds it.",
        code="store.corrupt",
        detail=detail[:2000],
    )
