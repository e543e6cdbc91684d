"""Options of the server; imports nothing heavy, so that the command line may read it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from quickserveml_tui.core.errors import NotPermittedError, UsageError

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve."""

    host: str = "127.0.0.1"
    """Address to listen on; a loopback address or `localhost`."""
    port: int = 8000
    """0 picks a free one."""
    default_model: str = ""
    """`name` or `name@version` behind `/predict` and `/model/…`; empty takes the first model."""
    intra_op_threads: int = 1
    queue_limit: int = 1024
    """Requests that may wait for one model; beyond it they are refused with 503."""
    max_body_bytes: int = 64 * MIB
    """Largest request body, also after decompression."""
    max_head_bytes: int = 32 * 1024
    """Largest request line with headers."""
    max_headers: int = 100
    max_connections: int = 8192
    head_timeout_s: int = 10
    """Time from the first byte of a request until its headers are complete."""
    body_timeout_s: int = 60
    """Time for a body, to which a second comes for every 64 KiB."""
    run_timeout_s: float = 300.0
    """Longest run of a model; then it is stopped and its requests are answered with 504."""
    keep_alive_s: int = 75
    """Idle time after which a connection is closed."""
    drain_delay_s: float = 0.25
    """Time between not being ready and closing the listening socket: balancers and clients move away meanwhile."""
    drain_timeout_s: int = 30
    """Longest wait for requests under way."""
    log_level: str = "warning"
    loop: str = "auto"
    """`auto` takes uvloop where it is installed, `asyncio` never does."""

    def validate(self) -> ServeOptions:
        """Itself, if every value is in range.

        Raises `UsageError` (`usage.serve`), and `NotPermittedError` (`serve.not_loopback`) for other hosts.
        """
        if not is_loopback(self.host):
            raise NotPermittedError(
                f"Serving on {self.host[:80]} would open the models to the network without authentication.",
                hint="Serve on 127.0.0.1 and put a tunnel or an authenticating proxy in front; "
                "other addresses need API keys, which this version does not have.",
                code="serve.not_loopback",
            )
        problems = [
            (not 0 <= self.port <= 65535, "The port must be between 0 and 65535."),
            (not 1 <= self.intra_op_threads <= 1024, "Intra-op threads must be between 1 and 1024."),
            (not 1 <= self.queue_limit <= 1_000_000, "The queue limit must be between 1 and 1,000,000."),
            (not 1024 <= self.max_body_bytes <= 2**31, "The body limit must be between 1 KiB and 2 GiB."),
            (not 1 <= self.max_connections <= 1_000_000, "Connections must be between 1 and 1,000,000."),
            (min(self.head_timeout_s, self.body_timeout_s, self.keep_alive_s) < 1, "Timeouts must be at least 1 s."),
            (not 0 < self.run_timeout_s <= 86_400, "The time of a run must be positive and at most a day."),
            (not 0 <= self.drain_delay_s <= 600, "The drain delay must be between 0 and 600 s."),
            (not 0 <= self.drain_timeout_s <= 3600, "The drain timeout must be between 0 and 3600 s."),
            (self.loop not in ("auto", "asyncio", "uvloop"), "The loop is one of auto, asyncio, uvloop."),
        ]
        for wrong, hint in problems:
            if wrong:
                raise UsageError("The server's settings are out of range.", hint=hint, code="usage.serve")
        return self


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine only."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
