"""A backup folder: blobs by digest, shared by all generations, and one folder for each generation.

```
quickserveml-backup.json        says that the folder is one
blobs/sha256/ab/<digest>
generations/<id>/               backup.json, registry.json, state.db, SUMS
```
A generation appears by one rename, after all that it needs is durable. Everything else with a name that begins with
`.tmp-` was left by a run that was killed, and the next one takes it away. `SUMS` is read by `sha256sum -c`.
"""
# Plain `os` calls, so that fault tests can count and break every one of them.
# ruff: noqa: PTH102, PTH105, PTH108, PTH116

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import msgspec

from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.artifact_files import blob_path, is_digest

WHAT = "backup folder"
MARKER = "quickserveml-backup.json"
LOCK = "backup.lock"
BLOBS, GENERATIONS = "blobs", "generations"
DOCUMENT, REGISTRY, STATE, SUMS = "backup.json", "registry.json", "state.db", "SUMS"
DAMAGED_SUFFIX = ".damaged"
FORMAT = 1
MAX_DOCUMENT_BYTES = 256 << 20
MAX_LISTED = 100_000
_ID = re.compile(r"([0-9]{8}T[0-9]{6})([0-9]{3})Z", re.ASCII)
_FAN_OUT = re.compile(r"[0-9a-f]{2}")


class SourceError(OSError):
    """What is to be copied cannot be read to its end."""


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """`backup.json`: what a generation holds."""

    format: int = FORMAT
    id: str
    created_at: str
    program: str
    models: int
    versions: int
    runs: int
    linked: int
    content_digest: str
    registry: str
    """sha256 of the registry file; empty where nothing had been written to it."""
    state: str
    """sha256 of the state database."""
    documents_bytes: int
    blobs: dict[str, int]
    """Size by digest."""
    missing: dict[str, str] = {}
    """Sentences on blobs that it needs and that the home lacked when it was made, by digest."""
    new_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """Size of its documents and blobs in bytes."""
        return self.documents_bytes + sum(self.blobs.values())


class BackupFolder:
    """One backup folder. All methods raise `StoreError` when the disk fails."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.generations = root / GENERATIONS
        self._touched: set[Path] = set()

    # ---- the folder -------------------------------------------------------------------------------------------------

    @contextmanager
    def locked(self, *, to_write: bool, wait_s: float = 10.0) -> Iterator[None]:
        """Keep other runs out; a folder that cannot be written is read without a lock. Raises `store.locked`."""
        if not to_write and not os.access(self.root, os.W_OK):
            yield
            return
        with fs.locked(self.root / LOCK, WHAT, timeout_s=wait_s):
            yield

    def prepare(self) -> None:
        """Make it a backup folder unless it is one, and take away what killed runs left; call it under the lock."""
        try:
            if not os.path.lexists(self.root / MARKER):
                fs.write_atomic(self.root / MARKER, b'{"format": "quickserveml-backup", "version": 1}\n')
            for folder in (self.root / BLOBS / "sha256", self.generations):
                fs.make_private_dir(folder)
            for folder in (self.root, self.root / BLOBS, self.generations):
                _remove_leftovers(folder)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error

    # ---- generations ------------------------------------------------------------------------------------------------

    def ids(self) -> list[str]:
        """Ids of all generations, newest first."""
        try:
            with os.scandir(self.generations) as entries:
                found = [item.name for item in entries if is_id(item.name) and item.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        return sorted(found, reverse=True)[:MAX_LISTED]

    def read(self, generation: str) -> Generation:
        """What a generation holds. Raises `StoreError` (`backup.damaged`, `store.newer_schema`)."""
        try:
            data = self.read_file(generation, DOCUMENT)
            head = msgspec.json.decode(data)
            found = head.get("format") if isinstance(head, dict) else None
            if isinstance(found, int) and found > FORMAT:
                raise StoreError(
                    f"The generation {generation} was written by a newer version of this program.",
                    hint="Upgrade quickserveml-tui; nothing was changed.",
                    code="store.newer_schema",
                )
            document = msgspec.json.decode(data, type=Generation)
        except (OSError, msgspec.DecodeError, RecursionError) as error:
            raise damaged(generation, "its description cannot be read", str(error)) from error
        is_sound = all(map(is_digest, (*document.blobs, *document.missing)))
        if document.id != generation or not is_sound or min(document.documents_bytes, *document.blobs.values(), 0) < 0:
            raise damaged(generation, "its description is not its own")
        return document

    def read_file(self, generation: str, name: str) -> bytes:
        """A document of a generation. Raises `OSError`."""
        descriptor = fs.open_regular(self.generations / generation / name)
        try:
            return fs.read_all(descriptor, MAX_DOCUMENT_BYTES)
        finally:
            os.close(descriptor)

    @contextmanager
    def new_generation(self) -> Iterator[Path]:
        """A folder that fills with a generation; gone after the block unless `publish` took it."""
        temp = self.generations / f"{fs.TEMP_PREFIX}{uuid.uuid4().hex}"
        try:
            os.mkdir(temp, 0o700)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error
        try:
            yield temp
        finally:
            with suppress(OSError):  # what stays is a leftover that the next run takes away
                fs.remove_tree(temp)

    def publish(self, temp: Path, document: Generation) -> None:
        """Make a generation durable and visible: its documents, then its blobs' folders, then one rename."""
        try:
            encoded = msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2) + b"\n"
            write_new(temp / DOCUMENT, encoded)
            write_new(temp / SUMS, sums_of(document, hashlib.sha256(encoded).hexdigest()))
            fs.fsync_dir(temp)
            for folder in sorted(self._touched):
                fs.fsync_dir(folder)
            fs.fsync_dir(self.root / BLOBS / "sha256")
            os.rename(temp, self.generations / document.id)  # noqa: PTH104 - fault tests break it
            fs.fsync_dir(self.generations)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error
        self._touched.clear()

    def remove(self, generations: Iterable[str]) -> None:
        """Take generations away; each is gone in one step."""
        try:
            for generation in generations:
                trash = self.generations / f"{fs.TEMP_PREFIX}{uuid.uuid4().hex}"
                os.rename(self.generations / generation, trash)  # noqa: PTH104 - fault tests break it
                fs.fsync_dir(self.generations)
                fs.remove_tree(trash)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error

    # ---- blobs ------------------------------------------------------------------------------------------------------

    def blob(self, digest: str) -> Path:
        """Where a blob lies."""
        return blob_path(self.root / BLOBS, digest)

    def blob_size(self, digest: str) -> int | None:
        """Size of a blob; None where there is none."""
        path = self.blob(digest)
        try:
            status = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise fs.store_error(error, WHAT, "read") from error
        self._touched.add(path.parent)  # a run that was killed may have put it there without making that durable
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def add_blob(self, source: Path, digest: str, cancel: CancelToken) -> str:
        """Copy a blob while hashing it; `""`, or what the source is: `missing`, `damaged`, `unreadable`."""
        try:
            descriptor = fs.open_regular(source)
        except OSError as error:
            return "missing" if error.errno == errno.ENOENT else "unreadable"
        target = self.blob(digest)
        temp = self.root / BLOBS / f"{fs.TEMP_PREFIX}{uuid.uuid4().hex}"
        try:
            fs.make_private_dir(target.parent)
            output = fs.open_new(temp, 0o400)
            try:
                found = _copy_hashed(descriptor, output, cancel)
                if found == digest:
                    os.fsync(output)
            finally:
                os.close(output)
            if found != digest:
                fs.remove_quietly(temp)
                return "damaged"
            os.replace(temp, target)
        except SourceError:
            fs.remove_quietly(temp)
            return "unreadable"
        except OSError as error:
            fs.remove_quietly(temp)
            raise fs.store_error(error, WHAT) from error
        except BaseException:
            fs.remove_quietly(temp)
            raise
        finally:
            os.close(descriptor)
        self._touched.add(target.parent)
        return ""

    def remove_blobs_except(self, needed: set[str]) -> None:
        """Remove the blobs that no generation needs; what is no blob stays, and no link is followed."""
        try:
            for folder in _entries(self.root / BLOBS / "sha256"):
                if not _FAN_OUT.fullmatch(folder.name) or not stat.S_ISDIR(os.lstat(folder).st_mode):
                    continue
                for path in _entries(folder):
                    if path.name not in needed and is_digest(path.name.removesuffix(DAMAGED_SUFFIX)):
                        with suppress(FileNotFoundError):
                            os.unlink(path)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error

    def set_aside(self, digest: str) -> None:
        """Rename a damaged blob, so that the next backup brings it again, where that can be done."""
        with suppress(OSError):
            path = self.blob(digest)
            os.replace(path, path.with_name(f"{digest}{DAMAGED_SUFFIX}"))


# ---- choosing and checking ------------------------------------------------------------------------------------------


def is_id(text: str) -> bool:
    """Whether a text is the id of a generation."""
    return moment_of(text) is not None


def moment_of(generation: str) -> datetime | None:
    """The time that an id says; None for what is no id."""
    match = _ID.fullmatch(generation)
    try:
        return match and datetime.strptime(f"{match[1]}.{match[2]}+0000", "%Y%m%dT%H%M%S.%f%z")
    except ValueError:  # the thirteenth month
        return None


def damaged(generation: str, why: str, detail: str = "") -> StoreError:
    """The error of a generation that cannot be used."""
    return StoreError(
        f"The generation {generation} is damaged: {why}.",
        hint="Choose another generation; `backup FOLDER --verify` says which are whole.",
        code="backup.damaged",
        detail=detail[:2000],
    )


def hash_file(path: Path, cancel: CancelToken) -> tuple[str, int]:
    """sha256 and size of a regular file. Raises `OSError`."""
    descriptor = fs.open_regular(path)
    try:
        return _copy_hashed(descriptor, None, cancel), os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def write_new(path: Path, data: bytes) -> None:
    """Write a new file durably; its folder is synced by the caller. Raises `OSError`."""
    descriptor = fs.open_new(path)
    try:
        fs.write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_file(source: Path, target: Path, cancel: CancelToken) -> str:
    """Copy a regular file to a new one durably; returns its sha256. Raises `OSError`."""
    descriptor = fs.open_regular(source)
    try:
        output = fs.open_new(target)
        try:
            digest = _copy_hashed(descriptor, output, cancel)
            os.fsync(output)
        finally:
            os.close(output)
    finally:
        os.close(descriptor)
    return digest


def _copy_hashed(source: int, output: int | None, cancel: CancelToken) -> str:
    hasher = hashlib.sha256()
    while chunk := _read_chunk(source):
        cancel.raise_if_cancelled()
        hasher.update(chunk)
        if output is not None:
            fs.write_all(output, chunk)
    return hasher.hexdigest()


def _read_chunk(source: int) -> bytes:
    try:
        return os.read(source, fs.CHUNK_BYTES)
    except OSError as error:
        raise SourceError(error.errno, error.strerror) from error


def sums_of(document: Generation, own: str) -> bytes:
    """`SUMS` of a generation whose `backup.json` has the digest `own`."""
    lines = [f"{own}  {DOCUMENT}", f"{document.state}  {STATE}"]
    if document.registry:
        lines.append(f"{document.registry}  {REGISTRY}")
    lines += [f"{digest}  ../../{BLOBS}/sha256/{digest[:2]}/{digest}" for digest in sorted(document.blobs)]
    return ("\n".join(lines) + "\n").encode()


def _entries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries]
    except FileNotFoundError:
        return []


def _remove_leftovers(folder: Path) -> None:
    for path in _entries(folder):
        if path.name.startswith(fs.TEMP_PREFIX):
            if stat.S_ISDIR(os.lstat(path).st_mode):
                fs.remove_tree(path)
            else:
                os.unlink(path)
