"""Models that come and go as streams, and answers that are given once."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from quickserveml_tui.core.catalog import AddRequest, AddResult


@dataclass(frozen=True, slots=True)
class ArtifactStream:
    """An open file to send; whoever gets it closes the descriptor."""

    descriptor: int
    size_bytes: int
    digest: str
    """SHA-256 that identifies the content: of the model file, or of what a bundle holds."""
    file_name: str
    is_bundle: bool


class IncomingFile(Protocol):
    """A file that comes in pieces, in a private folder of the home."""

    @property
    def size_bytes(self) -> int:
        """Bytes so far."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes so far, as hex digits."""
        ...

    @property
    def is_bundle(self) -> bool:
        """Whether it begins like a bundle rather than like a model."""
        ...

    def write(self, data: bytes) -> None:
        """Add a piece. Raises `StoreError` (`store.full`)."""
        ...

    def add(self, request: AddRequest) -> AddResult:
        """Add it to the catalog under the request's name; the path of the request is not looked at.

        A bundle brings its own details. Raises what `CatalogPort.add` and `BundlePort.import_bundle` raise, and then
        nothing was registered.
        """
        ...


class TransferPort(Protocol):
    """Bring models in and send them out, without a path that another machine would have to know."""

    def receive(self) -> AbstractContextManager[IncomingFile]:
        """A new file, gone after the block; what a killed process leaves goes with the next collections."""
        ...

    def open_artifact(self, ref: str, *, bundle: bool | None = None) -> ArtifactStream:
        """The model file of a version, or a bundle; None takes a bundle where the model has external data.

        Raises `NotFoundError`, `StoreError` (`artifact.missing`), `UsageError` (`artifact.external`) for the file
        alone of a model with external data.
        """
        ...

    def open_golden(self, ref: str, name: str, *, outputs: bool) -> ArtifactStream:
        """The NPZ file with the inputs or outputs of a golden output. Raises `NotFoundError` (`golden.not_found`)."""
        ...

    def scratch(self) -> AbstractContextManager[Path]:
        """A private folder of the home, gone after the block."""
        ...


class AnswersPort(Protocol):
    """Answers under idempotency keys."""

    def claim(self, caller: str, key: str, request: str) -> tuple[int, dict[str, str], bytes] | None:
        """Take a key for a request (its digest); the answer that it had before, if there is one.

        Raises `UsageError` (`idempotency.mismatch`) for a key of another request, and `ConflictError`
        (`idempotency.busy`) while the first request is under way.
        """
        ...

    def keep(self, caller: str, key: str, status: int, headers: dict[str, str], body: bytes) -> None:
        """Keep the answer."""
        ...

    def release(self, caller: str, key: str) -> None:
        """Give the key back: the request failed in a way that may go by."""
        ...
