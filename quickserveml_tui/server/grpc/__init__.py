"""gRPC beside HTTP: the same models, queues, keys and errors. This module imports nothing of the extra `grpc`."""

from __future__ import annotations

import errno
import os
import socket
from importlib.util import find_spec

from quickserveml_tui.core.errors import UnavailableError


def require_grpc() -> None:
    """Raise `UnavailableError` (`serve.grpc_missing`) where the package for gRPC is not installed."""
    if find_spec("grpc") is None:
        raise UnavailableError(
            "Serving gRPC needs the package grpcio, which is not installed.",
            hint="Install it with: pip install 'quickserveml-tui[grpc]'",
            code="serve.grpc_missing",
        )


def silence_core() -> None:
    """Keep gRPC's core from writing lines of its own among the log's; before its import. `GRPC_VERBOSITY` wins."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def reserve_port(host: str, port: int) -> socket.socket:
    """A bound socket that never listens: it holds a port that several workers share; `port` 0 picks a free one.

    Raises `UnavailableError` (`serve.port_taken`, `serve.cannot_listen`).
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = "127.0.0.1" if host.lower().rstrip(".") == "localhost" else host
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        if port:
            with socket.socket(family, socket.SOCK_STREAM) as alone:
                # Without SO_REUSEPORT: another server that shares its ports would let ours in, and both answer.
                alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                alone.bind((address, port))
        if hasattr(socket, "SO_REUSEPORT"):
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((address, port))
    except OSError as error:
        held.close()
        if error.errno == errno.EADDRINUSE:
            raise port_taken(port) from error
        raise UnavailableError(
            f"Cannot listen on {host} port {port} for gRPC.",
            hint="Choose another address or --grpc-port.",
            detail=error.strerror or "",
            code="serve.cannot_listen",
        ) from error
    return held


def port_taken(port: int) -> UnavailableError:
    """The error for a port that another program has."""
    return UnavailableError(
        f"Port {port} is taken by another program.",
        hint="Choose another one with --grpc-port, or 0 for a free one.",
        code="serve.port_taken",
    )
