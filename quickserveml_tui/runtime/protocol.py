"""What a runner and its parent say to each other: msgpack documents in length-prefixed frames, no pickle.

The parent sends `Call` and `Cancel`; the child says `Hello` once, then for each call any number of `Event`s and one
`Done` or `Failed`. Bodies are msgpack of the types named by the operation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from quickserveml_tui.core import errors
from quickserveml_tui.core.errors import QuickServeError, RunnerError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PROTOCOL_VERSION = 1
MAX_BODY_BYTES = 1_000_000_000
"""Longest body of a message; outputs beyond it are refused with a clear error."""
MAX_MESSAGE_BYTES = 1 << 30
"""Longest message either side takes."""


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The child is ready."""

    pid: int
    runtime: str
    """Such as `onnxruntime 1.32.0`."""
    protocol: int = PROTOCOL_VERSION


class Call(msgspec.Struct, frozen=True, tag="call"):
    """Run an operation."""

    id: int
    op: str
    args: bytes
    """msgpack of the operation's argument type."""


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop a call."""

    id: int


class Event(msgspec.Struct, frozen=True, tag="event"):
    """A frame or a progress report of a call."""

    id: int
    body: bytes


class Done(msgspec.Struct, frozen=True, tag="done"):
    """A call's result."""

    id: int
    body: bytes


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A call's error: the class of `core.errors` by name and its parts."""

    id: int
    error: str
    code: str
    message: str
    hint: str = ""
    detail: str = ""


FromParent: TypeAlias = Call | Cancel
FromChild: TypeAlias = Hello | Event | Done | Failed

_encoder = msgspec.msgpack.Encoder()
_from_parent: msgspec.msgpack.Decoder[FromParent] = msgspec.msgpack.Decoder(FromParent)
_from_child: msgspec.msgpack.Decoder[FromChild] = msgspec.msgpack.Decoder(FromChild)


class ProtocolError(RunnerError):
    """The other side sent something that is no message."""

    default_code = "runtime.protocol"


def send(connection: Connection, message: FromParent | FromChild) -> None:
    """Send one message. Raises `OSError` when the other side is gone, `ProtocolError` when it is too long."""
    data = _encoder.encode(message)
    if len(data) > MAX_MESSAGE_BYTES:
        raise ProtocolError("A message between runner and parent is over 1 GiB.", code="data.too_large")
    connection.send_bytes(data)


def receive_from_parent(connection: Connection) -> FromParent:
    """The next message. Raises `EOFError` or `OSError` when the other side is gone."""
    return _from_parent.decode(connection.recv_bytes(MAX_MESSAGE_BYTES))


def receive_from_child(connection: Connection) -> FromChild:
    """The next message. Raises `EOFError` or `OSError` when the child is gone, `ProtocolError` for a broken one."""
    try:
        return _from_child.decode(connection.recv_bytes(MAX_MESSAGE_BYTES))
    except msgspec.MsgspecError as error:
        raise ProtocolError("The runner sent a broken message.", detail=str(error)) from error


def failed(call_id: int, error: QuickServeError) -> Failed:
    """The message for an error."""
    return Failed(call_id, type(error).__name__, error.code, error.message, error.hint, error.detail)


def to_error(message: Failed) -> QuickServeError:
    """The error for a message; one of an unknown class becomes a `RunnerError`."""
    kind = getattr(errors, message.error, None)
    if not (isinstance(kind, type) and issubclass(kind, QuickServeError)):
        kind = RunnerError
    return kind(message.message, hint=message.hint, code=message.code, detail=message.detail)
