"""Models that come in and go out as streams, through private folders of the artifact store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from quickserveml_tui.core.catalog import AddRequest, AddResult
from quickserveml_tui.core.errors import DataError, ModelError, NotFoundError, StoreError, UsageError
from quickserveml_tui.core.ports import BundlePort, CatalogPort, GoldenPort
from quickserveml_tui.core.ports.transfers import ArtifactStream
from quickserveml_tui.core.stores import ArtifactStore
from quickserveml_tui.services.bundle_export import BUNDLE_SUFFIX, MODEL_SUFFIX
from quickserveml_tui.storage import fs

WHAT = "artifact store"
_ZIP = b"PK"
_HEAD = 4
_DATA_ELSEWHERE = frozenset({"model.external_missing", "model.missing"})


class Incoming:
    """`IncomingFile`: written and hashed piece by piece."""

    def __init__(self, path: Path, catalog: CatalogPort, bundles: BundlePort) -> None:
        self._path = path
        self._catalog = catalog
        self._bundles = bundles
        self._hash = hashlib.sha256()
        self._head = b""
        self._descriptor = _opened(path)
        self.size_bytes = 0

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes so far."""
        return self._hash.hexdigest()

    @property
    def is_bundle(self) -> bool:
        """Whether it begins like a bundle: no model file begins so."""
        return self._head.startswith(_ZIP)

    def write(self, data: bytes) -> None:
        """Add a piece. Raises `StoreError`."""
        self._head = (self._head + data[:_HEAD])[:_HEAD]
        self._hash.update(data)
        self.size_bytes += len(data)
        try:
            fs.write_all(self._descriptor, data)
        except OSError as error:
            raise fs.store_error(error, WHAT) from error

    def add(self, request: AddRequest) -> AddResult:
        """Add it to the catalog; see `IncomingFile.add`."""
        if not self.size_bytes:
            raise DataError("The body is empty.", hint="Send the bytes of a model file.", code="upload.empty")
        if self.is_bundle:
            _check_bundle_request(request)
            return self._bundles.import_bundle(str(self._path), name=request.name, onto=request.onto)
        try:
            return self._catalog.add(replace(request, path=str(self._path), link=False))
        except ModelError as error:
            if error.code not in _DATA_ELSEWHERE:
                raise
            raise ModelError(
                f"The model file alone came, without its external data: {error.message}",
                hint="Upload a bundle, which holds both: where the files are, `quickserveml add FILE --name NAME`, "
                "then `quickserveml export NAME FILE.qsml`.",
                code=error.code,
            ) from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _check_bundle_request(request: AddRequest) -> None:
    if request != AddRequest(request.path, name=request.name, onto=request.onto):
        raise UsageError(
            "A bundle brings its own details.",
            hint="Upload it with a name only, then change what should be different.",
            code="upload.bundle",
        )


def _opened(path: Path) -> int:
    try:
        return fs.open_new(path)
    except OSError as error:
        raise fs.store_error(error, WHAT) from error


class TransferService:
    """`TransferPort` on the catalog, bundles and the artifact store."""

    def __init__(self, catalog: CatalogPort, bundles: BundlePort, golden: GoldenPort, artifacts: ArtifactStore) -> None:
        self._catalog = catalog
        self._bundles = bundles
        self._golden = golden
        self._artifacts = artifacts

    @contextmanager
    def receive(self) -> Iterator[Incoming]:
        """A new file in a private folder, gone after the block."""
        with self._artifacts.stage() as staging:
            incoming = Incoming(staging.folder / f"upload{MODEL_SUFFIX}", self._catalog, self._bundles)
            try:
                yield incoming
            finally:
                incoming.close()

    def open_artifact(self, ref: str, *, bundle: bool | None = None) -> ArtifactStream:
        """The model file of a version, or a bundle, open to be read; see `TransferPort.open_artifact`."""
        resolved = self._catalog.resolve(ref)
        assert resolved.model is not None
        assert resolved.version is not None
        stem = f"{resolved.model.name}-{resolved.version.version}"
        has_data = len(resolved.version.artifact.files) > 1
        if bundle or (bundle is None and has_data):
            return self._bundle(resolved.ref, f"{stem}{BUNDLE_SUFFIX}")
        if has_data:
            raise UsageError(
                f"{resolved.ref} has external data, so its model file alone is of no use.",
                hint="Ask for format=bundle, which holds all of its files.",
                code="artifact.external",
            )
        descriptor = _open_to_read(Path(resolved.path))
        size = os.fstat(descriptor).st_size
        return ArtifactStream(descriptor, size, resolved.digest, f"{stem}{MODEL_SUFFIX}", is_bundle=False)

    def _bundle(self, ref: str, file_name: str) -> ArtifactStream:
        with self._artifacts.stage() as staging:  # the open file outlives its name
            path = staging.folder / f"artifact{BUNDLE_SUFFIX}"
            info = self._bundles.write(ref, path)
            descriptor = _open_to_read(path)
        return ArtifactStream(descriptor, os.fstat(descriptor).st_size, info.content_digest, file_name, is_bundle=True)

    def open_golden(self, ref: str, name: str, *, outputs: bool) -> ArtifactStream:
        """The NPZ file of a golden output, open to be read."""
        golden = next((item for item in self._golden.list(ref) if item.name == name), None)
        if golden is None:
            raise NotFoundError(
                "This version has no golden output of that name.",
                hint="Its list of golden outputs names those there are.",
                code="golden.not_found",
            )
        digest = golden.outputs_digest if outputs else golden.inputs_digest
        descriptor = _open_to_read(self._artifacts.blob_path(digest))
        file_name = f"{golden.name}.{'outputs' if outputs else 'inputs'}.npz"
        return ArtifactStream(descriptor, os.fstat(descriptor).st_size, digest, file_name, is_bundle=False)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A private folder, gone after the block."""
        with self._artifacts.stage() as staging:
            yield staging.folder


def _open_to_read(path: Path) -> int:
    try:
        return fs.open_regular(path)
    except OSError as error:
        raise StoreError(
            "The file of this version is gone.", hint="Upload it once more.", code="artifact.missing", detail=str(error)
        ) from error
