"""The runner: a child process that opens models, so that what a model does cannot hurt the program.

`python -m quickserveml_tui.runtime.runner --fd N --parent PID [--preload]`; started by `runtime.client` only. It speaks
`runtime.protocol` on the inherited descriptor and ends when the parent does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import sys
import threading
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from quickserveml_tui.core.errors import DataError, QuickServeError, RunnerError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.text import safe_lines, safe_text
from quickserveml_tui.runtime import host, protocol
from quickserveml_tui.runtime.operations import Context, Kept, run_operation
from quickserveml_tui.runtime.session import runtime_name
from quickserveml_tui.runtime.session_cache import SessionCache

MAX_LOG_BYTES = 1 << 20
_LOG_CHECK_S = 5.0
_PRELOAD_AFTER_S = 0.02


class Runner:
    """Takes calls one by one in the main thread; a second thread listens, so that a cancel gets through."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sessions = SessionCache()
        self._kept = Kept()
        self._calls: queue.SimpleQueue[tuple[protocol.Call, CancelToken]] = queue.SimpleQueue()
        self._tokens: dict[int, CancelToken] = {}

    def serve(self, *, preload: bool) -> None:
        """Answer calls until the parent is gone."""
        threading.Thread(target=self._listen, name="listener", daemon=True).start()
        self._send(protocol.Hello(os.getpid(), runtime_name()))
        while True:
            try:
                call, token = self._calls.get(timeout=_PRELOAD_AFTER_S if preload else None)
            except queue.Empty:
                preload = False
                _import_graph()
                continue
            self._send(self._answer(call, token))
            self._tokens.pop(call.id, None)
            _bound_log()

    def _listen(self) -> None:
        try:
            while True:
                while not self._connection.poll(_LOG_CHECK_S):
                    _bound_log()
                self._take(protocol.receive_from_parent(self._connection))
        except (EOFError, OSError, msgspec.MsgspecError):
            os._exit(0)  # the parent is gone or talks nonsense; a running model would hold up an orderly end

    def _take(self, message: protocol.FromParent) -> None:
        if isinstance(message, protocol.Call):
            token = self._tokens[message.id] = CancelToken()
            self._calls.put((message, token))
        elif (found := self._tokens.get(message.id)) is not None:
            found.cancel()

    def _answer(self, call: protocol.Call, token: CancelToken) -> protocol.Done | protocol.Failed:
        def emit(body: Any) -> None:
            self._send(protocol.Event(call.id, msgspec.msgpack.encode(body)))

        try:
            body = run_operation(call.op, call.args, Context(self._sessions, token, emit, self._kept))
            if len(body) > protocol.MAX_BODY_BYTES:
                raise DataError("The result is over 1 GB.", hint="Use a smaller batch.", code="data.too_large")
            return protocol.Done(call.id, body)
        except QuickServeError as error:
            return protocol.failed(call.id, error)
        except MemoryError:
            self._sessions.clear()
            return protocol.failed(call.id, _out_of_memory())
        except Exception as error:  # noqa: BLE001 - a fault of ours must reach the user as an error, not as a dead child
            traceback.print_exc()
            return protocol.failed(call.id, _fault(error))

    def _send(self, message: protocol.FromChild) -> None:
        try:
            protocol.send(self._connection, message)
        except OSError:
            os._exit(0)


def _out_of_memory() -> RunnerError:
    return RunnerError(
        "The model needs more memory than it may use.",
        hint="Use a smaller batch or smaller inputs.",
        code="runtime.out_of_memory",
    )


def _fault(error: Exception) -> RunnerError:
    return RunnerError(
        f"The runner failed: {safe_text(type(error).__name__)}: {safe_text(error, 300)}.",
        hint="This is a fault of the program; please report it with the model.",
        code="runtime.fault",
        detail=safe_lines("".join(traceback.format_exception_only(error)), 4_000),
    )


def _import_graph() -> None:
    """Import onnx while nobody waits."""
    with contextlib.suppress(ImportError):  # the call that needs it says so
        from quickserveml_tui.graph import external, facts, layers  # noqa: F401


def _bound_log() -> None:
    """Start the log anew when it is over its bound; it is open for appending, so later lines go to its start."""
    with contextlib.suppress(OSError):
        if os.fstat(2).st_size > MAX_LOG_BYTES:
            os.ftruncate(2, 0)


def main(argv: Sequence[str] | None = None) -> None:
    """Run until the parent ends."""
    parser = argparse.ArgumentParser(prog="runner")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--preload", action="store_true")
    options = parser.parse_args(argv)
    host.die_with_parent(options.parent)
    host.disable_core_dumps()
    sys.setrecursionlimit(2_000)  # nested subgraphs must end in RecursionError well before the stack does
    os.set_inheritable(options.fd, False)
    Runner(Connection(options.fd)).serve(preload=options.preload)


if __name__ == "__main__":
    main()
