"""The gRPC server of a worker, in its event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from quickserveml_tui.server.grpc import port_taken
from quickserveml_tui.server.grpc.calls import Calls
from quickserveml_tui.server.grpc.health import Health
from quickserveml_tui.server.grpc.information import Information
from quickserveml_tui.server.grpc.methods import CHECK, METHODS, WATCH
from quickserveml_tui.server.grpc.streams import Streams
from quickserveml_tui.server.tls import tls_files
from quickserveml_tui.wire.grpc_health import HEALTH_SERVICE
from quickserveml_tui.wire.grpc_tables import SERVICE

if TYPE_CHECKING:
    from quickserveml_tui.server.context import ServerContext
    from quickserveml_tui.server.engine import Engine
    from quickserveml_tui.server.options import ServeOptions

_MAX_STREAMS = 1024
"""Calls of one connection at once."""
_PING_MS = 60_000
_PING_TIMEOUT_MS = 20_000
_LEAST_PING_MS = 10_000
"""Clients that ping more often are sent away."""


def _channel_options(options: ServeOptions) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", options.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", options.max_head_bytes),
        ("grpc.absolute_max_metadata_size", options.max_head_bytes * 2),
        ("grpc.max_concurrent_streams", _MAX_STREAMS),
        ("grpc.max_connection_idle_ms", options.keep_alive_s * 1000),
        ("grpc.keepalive_time_ms", _PING_MS),
        ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _LEAST_PING_MS),
        ("grpc.http2.max_ping_strikes", 3),
    ]


class GrpcServer:
    """Serves the models of an engine over gRPC. Made and used in the event loop."""

    def __init__(self, engine: Engine, context: ServerContext) -> None:
        self._options = context.options
        self._server: Any = None
        self._new_certificate: Any = None
        """Waits for the next handshake."""
        calls, information = Calls(engine, context), Information(context)
        self._streams = Streams(calls)
        self._handlers = {}
        for method in METHODS:
            if method.streams:
                handler = grpc.stream_stream_rpc_method_handler(self._streams.handler(method))
            elif method.name == "ModelInfer":
                handler = grpc.unary_unary_rpc_method_handler(calls.infer(method))
            else:
                made = calls.unary(method, information.handlers[method.name])
                handler = grpc.unary_unary_rpc_method_handler(made)
            self._handlers[method.name] = handler
        self._health = Health(calls, context)
        self._health_handlers = {
            CHECK.name: grpc.unary_unary_rpc_method_handler(self._health.check()),
            WATCH.name: grpc.unary_stream_rpc_method_handler(self._health.watch()),
        }

    async def start(self, host: str, port: int) -> int:
        """Take calls; returns the port. Raises `UnavailableError` where it cannot be had or the TLS files not be read.

        Workers share a port by SO_REUSEPORT; port 0 picks a free one.
        """
        self._server = grpc.aio.server(
            options=_channel_options(self._options), maximum_concurrent_rpcs=self._options.max_connections
        )
        services = {SERVICE: self._handlers, HEALTH_SERVICE: self._health_handlers}
        self._server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(*item) for item in services.items())
        )
        name = "127.0.0.1" if host.lower().rstrip(".") == "localhost" else host
        address = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
        try:
            bound: int = self._listen(address)
        except RuntimeError as error:
            raise port_taken(port) from error
        await self._server.start()
        return bound

    def _listen(self, address: str) -> int:
        if not self._options.tls_cert:
            bound: int = self._server.add_insecure_port(address)
            return bound
        credentials = grpc.dynamic_ssl_server_credentials(self._read_certificate(), self._take_certificate)
        secure: int = self._server.add_secure_port(address, credentials)
        return secure

    def reload_certificate(self) -> None:
        """Read the files of the certificate again, for new connections; they were checked before.

        Raises `UnavailableError` (`tls.unreadable`).
        """
        if self._options.tls_cert:
            self._new_certificate = self._read_certificate()

    def _read_certificate(self) -> Any:
        chain, key = tls_files(self._options)
        return grpc.ssl_server_certificate_configuration([(key, chain)])

    def _take_certificate(self) -> Any:
        """What gRPC asks for at every handshake, in a thread of its own: a new certificate, or None for the same."""
        taken, self._new_certificate = self._new_certificate, None
        return taken

    async def drain(self) -> None:
        """Take no new calls, finish those under way within the drain timeout, end."""
        if self._server is not None:
            self._streams.end()
            self._health.end()
            await self._server.stop(self._options.drain_timeout_s)
            self._server = None
