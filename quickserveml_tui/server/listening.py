"""The listening socket of a server."""

from __future__ import annotations

import errno
import socket
import sys

from quickserveml_tui.core.errors import UnavailableError
from quickserveml_tui.server.options import ServeOptions

_BACKLOG = 2048


def listen(options: ServeOptions) -> socket.socket:
    """A socket that listens where the options say. Raises `UnavailableError`: `serve.port_taken` and others."""
    host = "127.0.0.1" if options.host.lower().rstrip(".") == "localhost" else options.host
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, options.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise UnavailableError(
                f"Port {options.port} is taken by another program.",
                hint="Choose another one with --port, or 0 for a free one.",
                code="serve.port_taken",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise UnavailableError(
                f"Port {options.port} needs privileges that this user lacks.",
                hint="Choose a port from 1024 on with --port.",
                code="serve.port_not_permitted",
            ) from error
        raise UnavailableError(
            f"Cannot listen on {options.host} port {options.port}.",
            hint="Choose another address or port.",
            detail=error.strerror or "",
            code="serve.cannot_listen",
        ) from error
    return listener


def url_of(listener: socket.socket, *, secure: bool = False) -> str:
    """Where clients find a listening socket."""
    scheme = "https" if secure else "http"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
