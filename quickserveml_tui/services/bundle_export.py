"""How a version leaves the home: as a bundle with all that belongs to it, or as the plain model."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from quickserveml_tui import __version__
from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.care import BundleInfo
from quickserveml_tui.core.errors import StoreError, UsageError
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink
from quickserveml_tui.core.models import FileEntry, ModelRecord, VersionRecord
from quickserveml_tui.core.stores import ArtifactStore
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services import bundle_format as form
from quickserveml_tui.services.decoration import RunDecoration
from quickserveml_tui.services.paths import user_path
from quickserveml_tui.storage.archive import ArchiveWriter
from quickserveml_tui.storage.artifact_files import check_relative
from quickserveml_tui.storage.fs import write_all
from quickserveml_tui.storage.outputs import (
    check_output,
    check_space,
    make_plain_folder,
    output_file,
    read_checked,
)

BUNDLE_SUFFIX = ".qsml"
MODEL_SUFFIX = ".onnx"
HEADERS_BYTES = 1 << 20


def export_target(path: str) -> Path:
    """Where an export goes. Raises `UsageError` for another ending and for a place inside a home."""
    target = user_path(path)
    if target.suffix.lower() not in (BUNDLE_SUFFIX, MODEL_SUFFIX) or path.endswith("/"):
        raise UsageError(
            f"“{safe_text(target.name, 80)}” says neither bundle nor model.",
            hint="End the name in .qsml for a bundle with all that belongs to the version, or in .onnx for the model.",
            code="usage.export",
        )
    parent = target.parent.resolve()
    for folder in (parent, *parent.parents):
        if (folder / "registry.json").exists() and (folder / "blobs").is_dir():
            raise UsageError(
                "Nothing is exported into a home: its folders belong to the program.",
                hint="Choose a folder elsewhere.",
                code="usage.path",
            )
    return target


@dataclass(frozen=True)
class Export:
    """One version on its way out."""

    artifacts: ArtifactStore
    model: ModelRecord
    version: VersionRecord
    on_progress: ProgressSink
    cancel: CancelToken
    runs: tuple[BenchmarkRun, ...] = ()
    _done: list[int] = field(default_factory=lambda: [0])
    _started: float = field(default_factory=time.monotonic)

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.model.name}@{self.version.version}"

    def write_model(self, target: Path, *, overwrite: bool) -> BundleInfo:
        """Write the model with its external data beside it, the model last."""
        files = self.version.artifact.files
        names = [Path(target.name), *(Path(check_relative(file.path)) for file in files[1:])]
        if target.name in map(str, names[1:]):
            raise UsageError(
                f"The model's external data is called “{safe_text(target.name, 80)}”.",
                hint="Choose another name for the model.",
                code="usage.path",
            )
        check_output(target, overwrite=overwrite)
        for file in files:  # says what is missing before anything is written
            self._source(file)
        total = self.version.artifact.size_bytes
        check_space(target.parent, total, "the model")
        places = [make_plain_folder(target.parent, name.parent) / name.name for name in names]
        for place in places:
            check_output(place, overwrite=overwrite)
        for file, place in reversed(list(zip(files, places, strict=True))):
            with output_file(place, overwrite=overwrite) as descriptor:
                for chunk in self._chunks(file, total):
                    write_all(descriptor, chunk)
        members = {str(name): file.digest for name, file in zip(names, files, strict=True)}
        return BundleInfo(str(target), self.ref, self.version.artifact.digest, len(files), total, 0, 0, members)

    def write_bundle(self, target: Path, *, overwrite: bool) -> BundleInfo:
        """Write the model with metadata, benchmarks, golden outputs and digests as one file."""
        runs = [(run, form.encode_run(run)) for run in self.runs]
        document = self._document()
        document = form.with_content_digest(document, [_digest(data) for _, data in runs])
        blobs = self._blobs(document)
        sizes = {name: size for name, (_, size, _) in blobs.items()}
        texts = {f"benchmarks/{run.id}.json": data for run, data in runs}
        total = sum(sizes.values()) + sum(map(len, texts.values()))
        check_output(target, overwrite=overwrite)
        check_space(target.parent, total + HEADERS_BYTES, "the bundle")
        digests: dict[str, str] = {}
        with output_file(target, overwrite=overwrite) as descriptor:
            writer = ArchiveWriter(descriptor)
            encoded = form.encode_document(document)
            digests[form.DOCUMENT] = writer.add(form.DOCUMENT, len(encoded), [encoded])
            for name in document.members():
                if name in texts:
                    digests[name] = writer.add(name, len(texts[name]), [texts[name]])
                else:
                    file, size, changed = blobs[name]
                    digests[name] = writer.add(name, size, self._read(file[0], file[1], size, changed, total))
            sums = form.encode_sums(digests)
            writer.add(form.SUMS, len(sums), [sums])
            writer.finish()
        return BundleInfo(
            str(target),
            self.ref,
            document.artifact,
            len(document.files),
            target.stat().st_size,
            len(document.benchmarks),
            len(document.golden),
            digests,
            document.content_digest,
        )

    def _document(self) -> form.BundleDocument:
        model, version = self.model, self.version
        metadata = {key: value for key, value in version.metadata.items() if key != form.IMPORTED_FROM}
        return form.BundleDocument(
            program=__version__,
            name=model.name,
            version=version.version,
            label=version.label,
            state=version.state,
            created_at=version.created_at,
            source=safe_text(version.source, form.MAX_SOURCE),
            notes=version.notes,
            version_metadata=metadata,
            lineage=version.lineage,
            task=model.task,
            author=model.author,
            description=model.description,
            framework=model.framework,
            license=model.license,
            tags=model.tags,
            categories=model.categories,
            metadata=model.metadata,
            artifact=version.artifact.digest,
            files=tuple(form.BundleFile(file.path, file.digest, file.size_bytes) for file in version.artifact.files),
            facts=msgspec.to_builtins(version.facts),
            trial=msgspec.to_builtins(version.trial),
            benchmarks=tuple(form.BundleRun(run.id, self._kept_samples(run)) for run in self.runs),
            golden=tuple(sorted(version.golden, key=lambda item: item.name)),
            feed=version.feed,
        )

    def _kept_samples(self, run: BenchmarkRun) -> str:
        """Digest of the raw samples; empty when they are not whole any more: the figures stand without them."""
        digest = run.samples_digest
        return digest if digest and not self.artifacts.check(digest, cancel=self.cancel) else ""

    def _blobs(
        self, document: form.BundleDocument
    ) -> dict[str, tuple[tuple[Path, str], int, Callable[[], StoreError]]]:
        """Path and digest, size, and the error for a change, of every member that is a file."""
        blobs = {}
        for file in self.version.artifact.files:
            path, changed = self._source(file)
            blobs[f"model/{file.path}"] = (path, file.digest), file.size_bytes, changed
        for name, digest in document.members().items():
            if digest and name not in blobs:
                path = self.artifacts.blob_path(digest)
                blobs[name] = (path, digest), path.stat().st_size, _damaged
        return blobs

    def _source(self, file: FileEntry) -> tuple[Path, Callable[[], StoreError]]:
        if file.link is not None:
            return Path(file.link.path), _link_changed
        return self.artifacts.blob_path(file.digest), _damaged

    def _chunks(self, file: FileEntry, total: int) -> Iterator[bytes]:
        path, changed = self._source(file)
        return self._read(path, file.digest, file.size_bytes, changed, total)

    def _read(
        self, path: Path, digest: str, size: int, changed: Callable[[], StoreError], total: int
    ) -> Iterator[bytes]:
        for chunk in read_checked(path, digest, size, changed=changed, cancel=self.cancel):
            self._done[0] += len(chunk)
            elapsed = time.monotonic() - self._started
            self.on_progress(Progress("exporting", self._done[0], total, "B", elapsed_s=elapsed))
            yield chunk


def runs_of(decoration: RunDecoration, model: ModelRecord, version: VersionRecord) -> tuple[BenchmarkRun, ...]:
    """The benchmarks of a version in the order of their bundle; none while the state database cannot be read."""
    runs = decoration.benchmarks(model.id, version.version, form.MAX_RUNS)
    return tuple(sorted(runs, key=lambda run: run.id))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _damaged() -> StoreError:
    return StoreError(
        "A file of the version is missing from the store or damaged, so it cannot be exported.",
        hint="`quickserveml fsck --full` says which; add the model file again to heal it.",
        code="artifact.corrupt",
    )


def _link_changed() -> StoreError:
    return StoreError(
        "A file that the version references in place is no longer the one that was added.",
        hint="Put the file back, or add the changed one as a new version.",
        code="artifact.changed",
    )
