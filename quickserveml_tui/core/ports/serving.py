"""Servers: start, stop and watch them, ask them, and the keys to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from quickserveml_tui.core.access import ApiKey, CreatedKey, DamagedKey, Permission, RateLimit
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.monitoring import ServerSnapshot
from quickserveml_tui.core.serving import ServerPlan, ServerRecord


class ServersPort(Protocol):
    """Servers of this home. They are processes of their own and outlive the front that started them."""

    def start(self, plan: ServerPlan, *, timeout_s: float = 60.0, cancel: CancelToken | None = None) -> ServerRecord:
        """Start a server in the background and wait until it takes requests.

        Raises what the server itself said when it did not start, with its own code and hint.
        """
        ...

    def stop(self, server_id: str, *, timeout_s: float = 45.0) -> None:
        """Let a server finish what is under way and end. Raises `NotFoundError` (`server.not_found`)."""
        ...

    def list(self) -> tuple[ServerRecord, ...]:
        """Servers of this home that run, newest first."""
        ...

    def log(self, server_id: str, offset: int = 0) -> tuple[str, int]:
        """What a server wrote to its log since byte `offset`, and where to go on."""
        ...

    def command(self, plan: ServerPlan) -> str:
        """The command that does the same."""
        ...


class MonitorPort(Protocol):
    """Watch any server that speaks the inference protocol: ours in full, others by their metrics."""

    def snapshot(self, url: str, *, key: str = "") -> ServerSnapshot:
        """The server now. Raises `UnavailableError` (`server.unreachable`), `NotPermittedError` (`server.refused`)."""
        ...

    def watch(
        self, url: str, *, key: str = "", interval_s: float = 1.0, cancel: CancelToken | None = None
    ) -> Iterator[ServerSnapshot]:
        """Snapshots, one per interval, until cancelled."""
        ...


class RemotePort(Protocol):
    """Ask a server."""

    def models(self, url: str, *, key: str = "") -> tuple[dict[str, Any], ...]:
        """Metadata of every served model, by the inference protocol."""
        ...

    def example(self, url: str, model: str, version: str = "", *, key: str = "") -> str:
        """An example request of a model as JSON text, ready to edit."""
        ...

    def send(
        self, url: str, path: str, body: bytes, *, key: str = "", timeout_s: float = 60.0
    ) -> tuple[int, str, float]:
        """POST a JSON body to a path below `url`: status, text of the answer, milliseconds."""
        ...

    def predict(
        self, url: str, model: str, version: str, inputs: dict[str, Any], *, key: str = "", timeout_s: float = 60.0
    ) -> tuple[dict[str, Any], float]:
        """Outputs by name (numpy arrays; strings as objects) for arrays by input name, and milliseconds."""
        ...


class KeysPort(Protocol):
    """API keys of this home's servers."""

    def create(
        self,
        name: str,
        *,
        scopes: Sequence[Permission] = (Permission.INFER,),
        models: Sequence[str] = (),
        limit: RateLimit = ...,
        expires_in_s: float | None = None,
        note: str = "",
    ) -> CreatedKey:
        """A new key; its text cannot be had again. Raises `ConflictError` (`key.taken`), `UsageError`."""
        ...

    def list(self, *, include_revoked: bool = False) -> tuple[ApiKey, ...]:
        """Keys by name."""
        ...

    def damaged(self) -> tuple[DamagedKey, ...]:
        """Records of the file that cannot be read: they open nothing, and stay in it."""
        ...

    def get(self, key: str) -> ApiKey:
        """A key by id or name. Raises `NotFoundError` (`key.not_found`)."""
        ...

    def rotate(self, key: str, *, overlap_s: float = 86_400.0) -> CreatedKey:
        """A new key with the same name, scopes and limits; the old one works until the overlap is over."""
        ...

    def revoke(self, key: str) -> ApiKey:
        """End a key at once."""
        ...

    @property
    def path(self) -> Path:
        """The file that holds the keys; servers watch it."""
        ...

    def token(self) -> str:
        """Changes with every change of the keys; cheap."""
        ...
