"""Options of the server; imports nothing heavy, so that the command line may read it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from quickserveml_tui.core.errors import NotPermittedError, UsageError

MIB = 1024 * 1024
LOG_LEVELS = ("debug", "info", "warning", "error")


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
    max_upload_bytes: int = 4096 * MIB
    """Largest model file or bundle that can be uploaded."""
    max_head_bytes: int = 32 * 1024
    """Largest request line with headers."""
    max_headers: int = 100
    max_connections: int = 8192
    head_timeout_s: int = 10
    """Time from the first byte of a request until its headers are complete, and for agreeing on TLS before."""
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
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`; no level logs every request, that is what `access_log` does."""
    log_format: str = "auto"
    """`json` or `text`; `auto` is text for a log that goes to a terminal, JSON elsewhere."""
    access_log: str = ""
    """File that gets a line for every request, `-` for stderr; empty writes none."""
    workers: int = 1
    grpc_port: int | None = None
    """Port of gRPC; None serves none, 0 picks a free one."""
    auth: str = "auto"
    """`keys` asks for API keys, `none` does not; `auto` asks wherever the server can be reached from elsewhere."""
    allow_remote: bool = False
    """Whether an address beyond loopback may be listened on; API keys are asked for there without exception."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names beside the server's own address that requests may name."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of pages, such as `https://ui.example`, that may use the server beside its own."""
    tls_cert: str = ""
    """PEM file with the certificate chain."""
    tls_key: str = ""
    """PEM file with its private key."""
    request_timeout_s: float = 60.0
    """Longest time that a request may wait before it runs; then it is answered with 504. A request may ask for less."""
    max_delay_us: int = 0
    """Longest wait for further requests of a shared run."""
    max_inflight_bytes: int = 1024 * MIB
    """Bodies that may be read and wait at once, over all connections of a worker; beyond it requests get 503."""
    cache_bytes: int = 0
    """Memory of a worker for answers to equal requests; 0 keeps none."""
    isolate: tuple[str, ...] = ()
    """Names of models that run in a process of their own each."""
    follow: bool = True
    """Whether new versions and moved aliases of the catalog are taken up while serving."""
    docs: bool = True
    """Whether `/docs`, `/redoc` and `/openapi.json` are offered."""
    home: str = ""
    """Home of catalog and keys; empty serves files only."""
    loop: str = "auto"
    """`auto` takes uvloop where it is installed, `asyncio` never does."""

    def validate(self) -> ServeOptions:
        """Itself, if every value is in range.

        Raises `UsageError` (`usage.serve`), and `NotPermittedError` (`serve.not_loopback`) for other hosts.
        """
        if not is_loopback(self.host) and not self.allow_remote:
            raise NotPermittedError(
                f"Serving on {self.host[:80]} would open the models to the network without authentication.",
                hint="Serve on 127.0.0.1 and put a tunnel or an authenticating proxy in front, or add --allow-remote, "
                "which asks for API keys.",
                code="serve.not_loopback",
            )
        problems = [
            (not 0 <= self.port <= 65535, "The port must be between 0 and 65535."),
            (not 1 <= self.intra_op_threads <= 1024, "Intra-op threads must be between 1 and 1024."),
            (not 1 <= self.queue_limit <= 1_000_000, "The queue limit must be between 1 and 1,000,000."),
            (not 1024 <= self.max_body_bytes <= 2**31, "The body limit must be between 1 KiB and 2 GiB."),
            (not 1024 <= self.max_upload_bytes <= 2**40, "The upload limit must be between 1 KiB and 1 TiB."),
            (not 1 <= self.max_connections <= 1_000_000, "Connections must be between 1 and 1,000,000."),
            (min(self.head_timeout_s, self.body_timeout_s, self.keep_alive_s) < 1, "Timeouts must be at least 1 s."),
            (not 0 < self.run_timeout_s <= 86_400, "The time of a run must be positive and at most a day."),
            (not 0 <= self.drain_delay_s <= 600, "The drain delay must be between 0 and 600 s."),
            (not 0 <= self.drain_timeout_s <= 3600, "The drain timeout must be between 0 and 3600 s."),
            (not 1 <= self.workers <= 256, "Workers must be between 1 and 256."),
            (self.grpc_port is not None and not 0 <= self.grpc_port <= 65535, "Ports are between 0 and 65535."),
            (not 0 < self.request_timeout_s <= 86_400, "The request timeout must be positive and at most a day."),
            (not 0 <= self.max_delay_us <= 1_000_000, "The delay must be between 0 and 1,000,000 µs."),
            (not 0 <= self.cache_bytes <= 2**40, "The cache must be between 0 and 1 TiB."),
            (self.log_format not in ("auto", "json", "text"), "The log format is one of auto, json, text."),
            (self.log_level not in LOG_LEVELS, f"The log level is one of {', '.join(LOG_LEVELS)}."),
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
