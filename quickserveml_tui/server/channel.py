"""Messages between supervisor and workers: msgpack in length-prefixed frames over a socket pair."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

import msgspec

MAX_MESSAGE_BYTES = 64 << 20
"""Longest message: the desired state of ten thousand models takes a tenth of it."""
MAX_UNREAD_BYTES = 2 * MAX_MESSAGE_BYTES
"""What may wait for the other side before it counts as gone."""

_LENGTH = struct.Struct("!I")
_encoder = msgspec.msgpack.Encoder()


class ChannelError(Exception):
    """The other side is gone, or sent what is no message."""


def _frame(message: msgspec.Struct) -> bytes:
    body = _encoder.encode(message)
    if len(body) > MAX_MESSAGE_BYTES:
        raise ChannelError(f"A message of {len(body)} bytes is too long.")
    return _LENGTH.pack(len(body)) + body


def send_blocking(end: socket.socket, message: msgspec.Struct) -> None:
    """Send a message from a thread. Raises `OSError` and `ChannelError`."""
    end.sendall(_frame(message))


def receive_blocking(end: socket.socket, kind: Any) -> Any:
    """Wait in a thread for a message of a type; reads no byte beyond it. Raises `OSError` and `ChannelError`."""
    (size,) = _LENGTH.unpack(_read(end, _LENGTH.size))
    if size > MAX_MESSAGE_BYTES:
        raise ChannelError("A message is too long.")
    try:
        return msgspec.msgpack.decode(_read(end, size), type=kind)
    except msgspec.MsgspecError as error:
        raise ChannelError("A message cannot be read.") from error


def _read(end: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = end.recv(size - len(data))
        if not part:
            raise ChannelError("The other side is gone.")
        data += part
    return bytes(data)


class Channel(asyncio.Protocol):
    """One end in an event loop: hands over each message of a type, and the end of the other side.

    What cannot be read as a message ends the channel, as the end of the other side does.
    """

    def __init__(self, kind: Any, on_message: Callable[[Any], None], on_close: Callable[[], None]) -> None:
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(kind)
        self._on_message = on_message
        self._on_close = on_close
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()

    @classmethod
    async def open(
        cls, end: socket.socket, kind: Any, on_message: Callable[[Any], None], on_close: Callable[[], None]
    ) -> Channel:
        """A channel over one end of a socket pair, which it takes."""
        end.setblocking(False)
        channel = cls(kind, on_message, on_close)
        await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=end)
        return channel

    def send(self, message: msgspec.Struct) -> None:
        """Send a message; nothing happens when the other side is gone."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            transport.abort()
            return
        transport.write(_frame(message))

    def close(self) -> None:
        """Close after what was sent is gone."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop has the socket."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The other side is gone."""
        self._transport = None
        self._on_close()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(buffer)
            if size > MAX_MESSAGE_BYTES:
                self._abort()
                return
            end = _LENGTH.size + size
            if len(buffer) < end:
                return
            body = bytes(buffer[_LENGTH.size : end])
            del buffer[:end]
            try:
                message = self._decoder.decode(body)
            except msgspec.MsgspecError:
                self._abort()
                return
            self._on_message(message)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
