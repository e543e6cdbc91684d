"""Results of the lab as the state store keeps them: whoever owns a kind makes and reads its body."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LabResult:
    """A comparison, a load scenario, a profile, a note."""

    id: str
    kind: str
    created_at: str
    model: str = ""
    """Model id; empty for a file that is not registered."""
    version: int | None = None
    digests: tuple[str, ...] = ()
    """sha256 of the blobs that it needs."""
    body: bytes = b""
    """JSON."""
