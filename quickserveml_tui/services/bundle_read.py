"""A bundle that is open: its structure checked before anything, its content against its digests while it is read."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.care import BundleInfo
from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services import bundle_format as form
from quickserveml_tui.services.paths import user_path
from quickserveml_tui.storage import archive, fs


@dataclass(frozen=True)
class Extracted:
    """A bundle whose every byte was compared with its digest."""

    runs: tuple[BenchmarkRun, ...]
    digests: dict[str, str]


@dataclass(frozen=True)
class OpenBundle:
    """A bundle with its description; nothing but headers and the description has been read."""

    path: Path
    descriptor: int
    document: form.BundleDocument
    members: dict[str, archive.Member]
    sums: dict[str, str]

    @property
    def content_bytes(self) -> int:
        """Size of all members in bytes."""
        return sum(member.size for member in self.members.values())

    def info(self, digests: dict[str, str]) -> BundleInfo:
        """What it holds, for people."""
        document = self.document
        return BundleInfo(
            str(self.path),
            f"{document.name}@{document.version}",
            document.artifact,
            len(document.files),
            os.fstat(self.descriptor).st_size,
            len(document.benchmarks),
            len(document.golden),
            digests,
            document.content_digest,
        )

    def check(self, folder: Path | None, *, on_progress: ProgressSink, cancel: CancelToken) -> Extracted:
        """Read everything, and write it below `folder` where one is given. Raises `DataError`, `OSError`."""
        digests = {form.DOCUMENT: self.sums[form.DOCUMENT]}
        runs: list[BenchmarkRun] = []
        run_digests: list[str] = []
        done, started = 0, time.monotonic()
        for name, expected in self.document.members().items():
            member = self.members[name]
            if name.startswith("benchmarks/") and name.endswith(".json"):
                data = _read_small(self.descriptor, member, form.MAX_RUN_BYTES)
                digests[name] = hashlib.sha256(data).hexdigest()
                runs.append(form.decode_run(data, name[len("benchmarks/") : -len(".json")]))
                run_digests.append(digests[name])
            elif folder is not None:
                digests[name] = archive.extract(self.descriptor, member, folder / name, cancel=cancel)
            else:
                digests[name] = _hash(self.descriptor, member, cancel)
            if digests[name] != self.sums[name] or expected not in ("", digests[name]):
                raise _damaged(name)
            done += member.size
            on_progress(Progress("reading", done, self.content_bytes, "B", elapsed_s=time.monotonic() - started))
        if form.with_content_digest(self.document, run_digests).content_digest != self.document.content_digest:
            raise form.invalid("its content is not what its digest says")
        return Extracted(tuple(runs), digests)


@contextmanager
def open_bundle(path: str) -> Iterator[OpenBundle]:
    """A bundle, its structure and description checked.

    Raises `DataError`: `bundle.missing`, `bundle.not_a_file`, and what `storage.archive.read_members` and
    `bundle_format.decode_document` raise.
    """
    source = user_path(path)
    descriptor = _open(source)
    try:
        members = archive.read_members(descriptor)
        names = [member.name for member in members]
        if not names or names[0] != form.DOCUMENT or names[-1] != form.SUMS:
            raise form.invalid("it is a zip archive, but no bundle")
        raw = _read_small(descriptor, members[0], form.MAX_DOCUMENT_BYTES)
        document = form.decode_document(raw)
        sums = form.decode_sums(_read_small(descriptor, members[-1], form.MAX_SUMS_BYTES))
        _check_complete(document, names, sums)
        if hashlib.sha256(raw).hexdigest() != sums[form.DOCUMENT]:
            raise _damaged(form.DOCUMENT)
        by_name = {member.name: member for member in members}
        if any(by_name[f"model/{file.path}"].size != file.size_bytes for file in document.files):
            raise form.invalid("a file of the model has another size than it says")
        yield OpenBundle(source, descriptor, document, by_name, sums)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    name = safe_text(path.name, 80)
    try:
        return fs.open_regular(path.resolve(strict=True))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"There is no file “{name}”.", hint="Check the path.", code="bundle.missing") from error
    except PermissionError as error:
        raise DataError(f"“{name}” may not be read.", hint="Check its permissions.", code="bundle.missing") from error
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"“{name}” is not a regular file.", hint="Name a bundle that was exported.", code="bundle.not_a_file"
        ) from error


def _check_complete(document: form.BundleDocument, names: list[str], sums: dict[str, str]) -> None:
    expected = [form.DOCUMENT, *document.members(), form.SUMS]
    extra, missing = set(names) - set(expected), set(expected) - set(names)
    if extra:
        raise form.invalid(f"it holds “{safe_text(min(extra), 80)}”, which its description does not name")
    if missing:
        raise form.invalid(f"it lacks “{safe_text(min(missing), 80)}”")
    if names != expected or list(sums) != expected[:-1]:
        raise form.invalid("its files or digests are out of order")


def _read_small(descriptor: int, member: archive.Member, limit: int) -> bytes:
    if member.size > limit:
        raise form.invalid(f"“{safe_text(member.name, 80)}” is too large")
    return b"".join(archive.read_chunks(descriptor, member))


def _hash(descriptor: int, member: archive.Member, cancel: CancelToken) -> str:
    hasher = hashlib.sha256()
    for chunk in archive.read_chunks(descriptor, member):
        cancel.raise_if_cancelled()
        hasher.update(chunk)
    return hasher.hexdigest()


def _damaged(name: str) -> DataError:
    return DataError(
        f"The bundle is damaged: “{safe_text(name, 80)}” does not fit its digest.",
        hint="Nothing was stored; copy or export it again.",
        code="bundle.damaged",
    )
