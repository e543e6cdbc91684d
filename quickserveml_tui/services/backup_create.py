"""How a generation is made: a cut through registry and state database, then the blobs that they need."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quickserveml_tui import __version__
from quickserveml_tui.core.care import BackupInfo
from quickserveml_tui.core.errors import ReadOnlyError, StoreError
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink
from quickserveml_tui.core.stores import ArtifactStore
from quickserveml_tui.services.canonical import ContentDigest, HomeRegistry, HomeState, digest_of
from quickserveml_tui.storage import backup_folder as layout
from quickserveml_tui.storage.backup_folder import BackupFolder, Generation
from quickserveml_tui.storage.fs import store_error
from quickserveml_tui.storage.outputs import check_space
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState


@dataclass(frozen=True)
class Made:
    """A generation that is durable."""

    document: Generation
    problems: tuple[str, ...]
    tokens: tuple[str, str]
    """Generations of registry and state database that it was cut from."""


@dataclass(frozen=True)
class Creation:
    """Makes generations of one home in one folder, whose lock is held."""

    registry: HomeRegistry
    artifacts: ArtifactStore
    state: HomeState
    backup: BackupFolder
    on_progress: ProgressSink
    cancel: CancelToken

    def make(self) -> Made:
        """Make a generation; collection is held off by the caller. Raises `StoreError`, `CancelledError`."""
        check_stores(self.registry, self.state)
        with self.backup.new_generation() as temp:
            self.on_progress(Progress("copying the catalog"))
            with _still(self.artifacts):
                state_token = self.state.generation()
                data, registry_token = self.registry.file_bytes()
                self.state.snapshot(temp / layout.STATE)
            registry_digest = self._write_registry(temp, data)
            found = read_copies(temp, has_registry=data is not None)
            blobs, missing, problems, new_bytes = self._copy_blobs(found)
            try:
                state_digest, state_size = layout.hash_file(temp / layout.STATE, self.cancel)
            except OSError as error:
                raise store_error(error, layout.WHAT, "read") from error
            now = datetime.now(UTC)
            document = Generation(
                id=next_id(now, self.backup.ids()),
                created_at=now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                program=__version__,
                models=found.models,
                versions=found.versions,
                runs=found.runs,
                linked=found.linked,
                content_digest=found.hexdigest(),
                registry=registry_digest,
                state=state_digest,
                documents_bytes=state_size + len(data or b""),
                blobs=blobs,
                missing=missing,
                new_bytes=new_bytes + state_size + len(data or b""),
            )
            self.cancel.raise_if_cancelled()
            self.backup.publish(temp, document)
        return Made(document, tuple(problems), (registry_token, state_token))

    def _write_registry(self, temp: Path, data: bytes | None) -> str:
        if data is None:
            return ""
        try:
            layout.write_new(temp / layout.REGISTRY, data)
        except OSError as error:
            raise store_error(error, layout.WHAT) from error
        return hashlib.sha256(data).hexdigest()

    def _copy_blobs(self, found: ContentDigest) -> tuple[dict[str, int], dict[str, str], list[str], int]:
        """Sizes of the blobs that are there now, sentences on those that are not, problems, and bytes copied."""
        blobs: dict[str, int] = {}
        missing: dict[str, str] = {}
        problems: list[str] = []
        wanted: dict[str, tuple[Path, int]] = {}
        for digest, owner in sorted(found.blobs.items()):
            size = self.backup.blob_size(digest)
            source = self._source(digest)
            if size is not None and found.sizes.get(digest, size) == size:
                blobs[digest] = size
                if source is None:
                    problems.append(f"{owner}: the file {digest[:12]} is gone from the home; the backup has it.")
            elif source is None:
                missing[digest] = f"{owner}: the file {digest[:12]} is missing from the home."
            else:
                wanted[digest] = source
        total = sum(size for _path, size in wanted.values())
        check_space(self.backup.root, total, "the backup")
        done, started = 0, time.monotonic()
        for digest, (path, size) in wanted.items():
            wrong = self.backup.add_blob(path, digest, self.cancel)
            if wrong:
                missing[digest] = f"{found.blobs[digest]}: the file {digest[:12]} is {wrong} in the home."
            else:
                blobs[digest] = size
                done += size
            self.on_progress(Progress("copying files", done, total, "B", elapsed_s=time.monotonic() - started))
        return blobs, missing, [*missing.values(), *problems], done

    def _source(self, digest: str) -> tuple[Path, int] | None:
        try:
            path = self.artifacts.blob_path(digest)
            return path, path.stat().st_size
        except FileNotFoundError:
            return None
        except StoreError as error:
            if error.code != "artifact.missing":
                raise
            return None
        except OSError as error:
            raise store_error(error, "artifact store", "read") from error


def check_stores(registry: HomeRegistry, state: HomeState) -> None:
    """Raise `StoreError` for a store that cannot be read in full: what it holds would not be in the backup."""
    for store in (registry, state):
        problem = store.problem()
        if problem is not None and problem.code != "store.read_only":
            raise StoreError(
                f"No backup was made: {problem.message}",
                hint=f"Repair it first: {problem.command}" if problem.command else problem.hint,
                code=problem.code,
            )


def read_copies(folder: Path, *, has_registry: bool) -> ContentDigest:
    """What a generation's registry and state database hold; reading them is what proves that they can be read."""
    registry = TinyDbRegistry(folder / layout.REGISTRY, read_only=True)
    state = SqliteState(folder / layout.STATE, read_only=True)
    if has_registry:
        problem = registry.problem()
        if problem is not None:
            raise StoreError(problem.message, hint=problem.hint, code=problem.code)
    try:
        return digest_of(registry, state)
    finally:
        state.close()


def prune(backup: BackupFolder, keep: int) -> tuple[str, ...]:
    """Remove all generations but the newest `keep`, and the blobs that none of these needs; returns problems."""
    ids = backup.ids()
    backup.remove(ids[keep:])
    needed: set[str] = set()
    for generation in ids[:keep]:
        try:
            needed |= set(backup.read(generation).blobs)
        except StoreError as error:
            return (f"{error.message} No file was removed, because nobody knows which ones it needs.",)
    backup.remove_blobs_except(needed)
    return ()


def info_of(document: Generation, *, problems: tuple[str, ...] = ()) -> BackupInfo:
    """A generation for people."""
    return BackupInfo(
        document.id,
        document.created_at,
        document.models,
        document.versions,
        document.runs,
        len(document.blobs),
        document.size_bytes,
        document.content_digest,
        document.program,
        document.new_bytes,
        problems,
        document.linked,
    )


def id_of(moment: datetime) -> str:
    """A time as an id of a generation."""
    return f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z"


def next_id(now: datetime, ids: list[str]) -> str:
    """An id that sorts after all others, also where the clock was set back.

    Raises `StoreError` (`backup.damaged`) where none can.
    """
    newest = ids[0] if ids else ""
    last = layout.moment_of(newest)
    if last is None or id_of(now) > newest:
        return id_of(now)
    try:
        return id_of(last + timedelta(milliseconds=1))
    except OverflowError as error:
        raise layout.damaged(newest, "its time is the last there is, so none can follow it") from error


@contextmanager
def _still(artifacts: ArtifactStore) -> Iterator[None]:
    """Keep adders out, so that registry and state database are of one moment; a home that is read-only is still."""
    with ExitStack() as stack:
        with suppress(ReadOnlyError):
            stack.enter_context(artifacts.publishing())
        yield
