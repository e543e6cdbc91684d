"""The connection: hot requests are answered without a task, a future or a coroutine; all others go to uvicorn."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from uvicorn.config import Config
from uvicorn.server import ServerState

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.server.answers import Answer, header_lines, plain_error, to_bytes
from quickserveml_tui.server.batcher import internal_error
from quickserveml_tui.server.cold import ColdRequest, cold_side
from quickserveml_tui.server.context import Asked
from quickserveml_tui.server.engine import Engine
from quickserveml_tui.server.heads import Head, Route
from quickserveml_tui.server.jobs import HotJob

if TYPE_CHECKING:
    from quickserveml_tui.server.context import Admission

logger = logging.getLogger(__name__)

MAX_PIPELINED = 64
"""Requests of one connection that may be under way; further ones stay in the socket."""
LINGER_TICKS = 3
"""Seconds for which bytes of a refused request are read and dropped, so that its sender sees the answer."""
STALLED_TICKS = 120
"""Seconds after which a client that reads nothing is dropped."""
MIN_BYTES_PER_TICK = 64 * 1024
COUNTED_BYTES = 16 * 1024
"""Bodies from this size on count as bytes in flight; smaller ones are bounded by the queue's length."""
_ALIGNMENT = 64
_NOTHING = Asked()
_LIMIT_TEXTS = {
    "rate.limited": "This key sends more requests than it may.",
    "auth.too_many": "Too many requests came with keys that do not hold.",
}


def _too_much(head: Head) -> Answer:
    return plain_error(
        503, "overloaded", "The server has too many bytes waiting.", "Try again later.", protocol=head.protocol
    )


def _good(prefix: bytes, name: bytes, lines: bytes, body: bytes) -> bytes:
    """A plain JSON answer that leaves the connection open."""
    return b"%b%b\r\n%bcontent-length: %d\r\n\r\n%b" % (prefix, name, lines, len(body), body)


def _body_buffer(size: int, json_length: int) -> memoryview:
    """A buffer for a body whose binary part, after `json_length` bytes, is aligned for any dtype."""
    memory = np.empty(size + _ALIGNMENT, dtype=np.uint8)
    start = -(memory.ctypes.data + json_length) % _ALIGNMENT
    return memory.data[start : start + size]


class HotProtocol(asyncio.BufferedProtocol):
    """One connection; uvicorn makes it through its `http=` option.

    Requests are framed here, so every limit and check holds for both paths. A request that is not hot waits until the
    answers before it are sent, then its bytes go to the cold side, and the connection comes back after the response.
    Only a chunked body, whose end only a parser can find, takes the connection along for good.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        engine: Engine,
    ) -> None:
        self._state = server_state
        self.engine = engine
        self._cold = cold_side(
            config,
            server_state,
            app_state,
            _loop or asyncio.get_running_loop(),
            on_done=self._cold_done,
            on_too_large=self._cold_too_large,
            on_malformed=self._cold_malformed,
        )
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # until connection_made
        self._jobs: deque[HotJob] = deque()
        self._rest = b""
        """Bytes not looked at yet: the beginning of a head, or what must wait."""
        self._blocked = False
        """Whether `_rest` must wait for answers."""
        self._head: Head | None = None
        """The head whose body is being read into `_body`."""
        self._body: memoryview | None = None
        self._filled = 0
        self._expecting: Route | None = None
        """The route that was found for it; its model stays until the body is here."""
        self._held = 0
        """Bytes of `_body` that count as in flight."""
        self._lines = b""
        """Header lines for the answer to the request that is being read."""
        self._closing = False
        """Whether a last answer was sent: what still comes is dropped."""
        self._last_taken = False
        """Whether a request was read after which the connection closes."""
        self._write_paused = False
        self._eof = False
        self._idle_ticks = 0
        self._partial_ticks = 0
        self._unsent = 0
        """Bytes that waited to be sent at the last tick."""

    # ---- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = cast("asyncio.Transport", transport)
        self._state.connections.add(cast("Any", self))
        self.engine.handshakes.discard(self)
        self.engine.connections.add(self)
        if len(self.engine.connections) > self.engine.options.max_connections:
            self._refuse(503, "overloaded", "The server has too many connections.", "Try again later.", protocol=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went."""
        self._state.connections.discard(cast("Any", self))
        self.engine.connections.discard(self)
        self._closing = True
        for job in self._jobs:
            if job.answer is None:
                job.batcher.forget(job)
        self._jobs.clear()
        self._rest = b""
        self._drop_body()
        self._cold.connection_lost(exc)

    def eof_received(self) -> bool:
        """The client sends no more: finish what is under way, then close."""
        if self._closing or self._cold.waits_for_body or not (self._jobs or self._cold.active or self._blocked):
            return False
        self._eof = True
        if not self._blocked:
            self._end_input()
        return self._transport.get_extra_info("sslcontext") is None  # TLS cannot stay open for writing alone

    def _end_input(self) -> None:
        """After the last byte was looked at: close when all answers are sent."""
        self._last_taken = True
        if self._cold.active:
            self._cold.close_after_response()
        elif not self._jobs and not self._closing:
            self._close_softly()

    def pause_writing(self) -> None:
        """The client reads slowly: read no more of it."""
        self._write_paused = True
        if self._cold.active:
            self._cold.pause_writing()
        else:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client caught up."""
        self._write_paused = False
        self._cold.resume_writing()
        if not self._cold.active:
            self._resume()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Where the next bytes go: straight into the body that is being read, else into the common buffer."""
        if self._body is not None:
            return self._body[self._filled :]
        return self.engine.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        self._idle_ticks = 0
        if self._body is not None:
            self._filled += nbytes
            if self._filled == len(self._body):
                self._take_large()
            return
        data = bytes(self.engine.read_buffer[:nbytes])
        if self._closing:
            return
        if self._rest:
            data = self._rest + data
            self._rest = b""
        self._feed(data)

    # ---- framing

    def _feed(self, data: bytes) -> None:
        position, size = 0, len(data)
        while position < size and not self._closing and not self._last_taken:
            if self._cold.active:
                position = self._cold.feed(data, position)
                if self._cold.active and not self._cold.takes_bytes:
                    return self._wait(data[position:])
                continue
            if len(self._jobs) >= MAX_PIPELINED or self._write_paused:
                return self._wait(data[position:])
            end = data.find(b"\r\n\r\n", position) + 4
            if end < 4 or end - position > self.engine.options.max_head_bytes:
                return self._partial_head(data[position:], complete=end >= 4)
            head = self.engine.heads.read(data[position:end])
            if head.error is not None or head.route is None:
                if self._jobs:  # answers go out in the order of the requests
                    return self._wait(data[position:])
                if head.error is not None:
                    return self._send_last(head.error, head)
                refused, lines = self._admit(head) if head.limited else (None, ())
                if refused is not None:
                    return self._send_last(refused, head, header_lines(lines))
                self._begin_cold(head, lines)
                position = end
                continue
            position = self._take_body(head, head.route, data, end)
        return None

    def _partial_head(self, rest: bytes, *, complete: bool) -> None:
        limit = self.engine.options.max_head_bytes
        if not complete and len(rest) <= limit:
            self._rest = rest
            return
        if self._jobs:
            self._wait(rest)
            return
        self._refuse(
            431, "http.head_too_large", f"The request line and headers exceed {limit} bytes.", "", protocol=False
        )

    def _wait(self, rest: bytes) -> None:
        """Keep `rest` until an answer is sent."""
        self._rest = rest
        if not rest:
            return
        self._blocked = True
        if self._cold.active:
            self._cold.pause_reading()
        else:
            self._transport.pause_reading()

    def _resume(self) -> None:
        """Look again at what had to wait, and read on."""
        if self._closing or self._write_paused:
            return
        self._blocked = False
        rest, self._rest = self._rest, b""
        if rest:
            self._feed(rest)
        if self._blocked or self._closing or self._transport.is_closing():
            return
        if self._eof:
            self._end_input()
        else:
            self._transport.resume_reading()

    def _begin_cold(self, head: Head, lines: Sequence[tuple[str, str]]) -> None:
        engine = self.engine
        engine.requests += 1
        last = not head.keep_alive or engine.serving.draining
        request = ColdRequest(head, head.request_id or engine.next_id(), lines, last=last)
        self._cold.begin(self._transport, request)

    def _admit(self, head: Head) -> tuple[Answer | None, Sequence[tuple[str, str]]]:
        """Count a request of a caller with limits: the refusal, if it goes beyond them, and lines for its answer."""
        admission = head.caller.admit(time.monotonic())
        return None if admission.allowed else self._over_limit(head, admission), admission.headers

    @staticmethod
    def _over_limit(head: Head, admission: Admission) -> Answer:
        detail = _LIMIT_TEXTS.get(admission.code, "This key has used up its requests of the day.")
        return plain_error(429, admission.code, detail, "Send the request again later.", protocol=head.protocol)

    def _take_body(self, head: Head, route: Route, data: bytes, start: int) -> int:
        """Dispatch the request if its body is there, else begin to read it; returns the position after it."""
        length = head.content_length
        end = start + length
        refused, lines, held = head.denied, head.lines, 0
        if head.limited:  # what is refused anyway counts too: guesses at keys have a limit on both paths
            admission = head.caller.admit(time.monotonic())
            if admission is not head.admission:
                head.admission = admission
                head.admitted_lines = head.lines + header_lines(admission.headers)
            lines = head.admitted_lines
            if not admission.allowed:
                refused = self._over_limit(head, admission)
        if length >= COUNTED_BYTES and refused is None:
            if self.engine.hold(length):
                held = length
            else:
                route.batcher.model.stats.reject()
                refused = _too_much(head)
        if refused is not None:
            self._answer_unread(head, route, refused, lines, whole=end <= len(data))
            return min(end, len(data))
        if end <= len(data):
            self._dispatch(head, route, data[start:end], lines, held)
            return end
        body = _body_buffer(length, head.json_length or 0)
        self._filled = len(data) - start
        body[: self._filled] = data[start:]
        self._head, self._body, self._held, self._lines = head, body, held, lines
        self._expecting = route
        route.batcher.expect()
        return len(data)

    def _answer_unread(self, head: Head, route: Route, answer: Answer, lines: bytes, *, whole: bool) -> None:
        """Answer without running the model; a body that is not there yet is not waited for."""
        self._partial_ticks = 0
        job = HotJob(self, head, route, head.content_length if whole else 0)
        job.lines = lines
        job.keep_alive = job.keep_alive and whole
        if not job.keep_alive:
            self._last_taken = True
        self._jobs.append(job)
        job.answer = answer
        self.flush()

    def _take_large(self) -> None:
        """Dispatch the request whose body is complete now."""
        head, body, found, held, lines = self._head, self._body, self._expecting, self._held, self._lines
        self._head, self._body, self._expecting, self._held, self._lines = None, None, None, 0, b""
        if head is None or found is None or body is None:
            return
        # Its path may mean another version by now, which is as good; of another model the caller may not know. The
        # version that was found has waited for the body.
        route = self.engine.routes.get(head.target, found)
        if route.batcher.model.name != found.batcher.model.name:
            route = found
        self._dispatch(head, route, body, lines, held)
        found.batcher.expected()

    def _drop_body(self) -> None:
        self._body = None
        self.engine.release(self._held)
        self._held = 0
        if self._expecting is not None:
            self._expecting.batcher.expected()
            self._expecting = None

    def _dispatch(self, head: Head, route: Route, body: bytes | memoryview, lines: bytes, held: int) -> None:
        self._partial_ticks = 0
        job = HotJob(self, head, route, len(body))
        job.lines = lines
        job.held = held
        if not job.keep_alive:
            self._last_taken = True
        self._jobs.append(job)
        model, cache = job.model, self.engine.cache
        if cache is not None and model.cacheable:
            key = cache.key(model, route.dialect, head.json_length, body)
            known = cache.get(key) if key is not None else None
            if known is not None:
                model.stats.cache_hit()
                job.finish(known)
                return
            job.key = key
            model.stats.cache_miss()
        if type(body) is bytes and head.json_length is None:
            form = route.dialect.form(model, body)
            if form is not None:
                job.accept_text(form, body)
                route.batcher.submit(job)
                return
        try:
            job.accept(route.dialect.decode(model, body, head.json_length))
        except QuickServeError as error:
            job.finish(route.dialect.error(error))
        except Exception:
            logger.exception("A request to %s could not be read", model.name)
            job.finish(route.dialect.error(internal_error()))
        else:
            route.batcher.submit(job)

    # ---- answers

    def flush(self) -> None:
        """Send the answers that are next in line."""
        jobs, engine, log = self._jobs, self.engine, self.engine.access_log
        if len(jobs) == 1 and not (self._closing or self._last_taken):  # nearly always: the loop below for one answer
            job, answer = jobs[0], jobs[0].answer
            if answer is None:
                return
            if answer.status == 200 and job.keep_alive and answer.json_length is None and not engine.serving.draining:
                jobs.clear()
                name, body, transport = job.name or engine.next_id(), answer.body, self._transport
                if log is not None:
                    elapsed = time.perf_counter_ns() - job.arrived
                    log.note(job.head.asked, 200, elapsed, job.received, len(body), name)
                engine.counters.add_requests(1)
                if not transport.is_closing():
                    transport.write(_good(engine.json_prefix, name, job.lines, body))
                    if self._blocked and not self._cold.active:
                        self._resume()
                return
        ready: list[bytes] = []
        while jobs and (answer := jobs[0].answer) is not None:
            job = jobs.popleft()
            last = not job.keep_alive or (engine.serving.draining and not jobs and not self._has_more())
            name = job.name or engine.next_id()
            body = answer.body
            if answer.status == 200 and answer.json_length is None and not last:
                ready.append(_good(engine.json_prefix, name, job.lines, body))
            else:
                lines = b"%bx-request-id: %b\r\n" % (job.lines, name)
                ready.append(to_bytes(answer, engine.date_line, close=last, lines=lines))
                self._last_taken = self._last_taken or last
            if log is not None:
                elapsed = time.perf_counter_ns() - job.arrived
                log.note(job.head.asked, answer.status, elapsed, job.received, len(body), name)
        engine.counters.add_requests(len(ready))
        if not ready or self._transport.is_closing():
            return
        self._transport.write(ready[0] if len(ready) == 1 else b"".join(ready))
        if self._last_taken and not jobs:
            self._close_softly()
        elif self._blocked and len(jobs) < MAX_PIPELINED // 2 and not self._cold.active:
            self._resume()

    def _note(self, head: Head | None, answer: Answer, name: bytes, elapsed_ns: int, received: int) -> None:
        """Tell the access log."""
        log = self.engine.access_log
        if log is not None:
            asked = head.asked if head is not None else _NOTHING
            log.note(asked, answer.status, elapsed_ns, received, len(answer.body), name)

    def _has_more(self) -> bool:
        """Whether a further request is being read."""
        return bool(self._rest) or self._body is not None

    def _refuse(self, status: int, code: str, detail: str, hint: str, *, protocol: bool) -> None:
        self._send_last(plain_error(status, code, detail, hint, protocol=protocol), self._head or self._cold.head)

    def _send_last(self, answer: Answer, head: Head | None, lines: bytes = b"") -> None:
        if self._transport.is_closing():
            return
        name = (head.request_id if head is not None else b"") or self.engine.next_id()
        lines = b"%b%bx-request-id: %b\r\n" % (head.lines if head is not None else b"", lines, name)
        self.engine.requests += 1
        self._note(head, answer, name, 0, 0)
        self._transport.write(to_bytes(answer, self.engine.date_line, close=True, lines=lines))
        self._close_softly()

    def _close_softly(self) -> None:
        """Close for writing and read on for a moment: closing over unread bytes would reset the connection."""
        self._closing = True
        self._rest = b""
        self._idle_ticks = 0
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof() and not self._eof:
            self._transport.write_eof()
            self._transport.resume_reading()
        else:
            self._transport.close()

    def _cold_done(self) -> None:
        """The connection is ours again."""
        self._partial_ticks = self._idle_ticks = 0
        request, status, sent = self._cold.request, self._cold.status, self._cold.sent
        if request is not None and self.engine.access_log is not None:
            elapsed = time.perf_counter_ns() - request.arrived
            self.engine.access_log.note(request.head.asked, status, elapsed, self._cold.received, sent, request.name)
        if self._cold.last_request:
            self._last_taken = True
            self._close_softly()
        elif self._rest or self._blocked:
            self._resume()

    def _cold_too_large(self) -> None:
        if self._closing:
            return
        if self._cold.response_started:
            self._transport.close()
            return
        limit, protocol = self._cold.body_limit, self._cold.protocol
        detail = f"The body exceeds {limit} bytes."
        self._refuse(413, "http.too_large", detail, "Send smaller batches.", protocol=protocol)

    def _cold_malformed(self) -> None:
        if self._closing:
            return
        if self._cold.response_started:
            self._transport.close()
            return
        self._refuse(400, "http.malformed", "The chunked body is malformed.", "", protocol=self._cold.protocol)

    # ---- time and end

    def tick(self) -> None:
        """A second has passed: drop who is too slow, close what is idle."""
        unsent = self._transport.get_write_buffer_size()
        self._idle_ticks = 0 if unsent < self._unsent else self._idle_ticks + 1
        self._unsent = unsent
        options, draining = self.engine.options, self.engine.serving.draining
        if self._closing:
            patience = LINGER_TICKS if draining else STALLED_TICKS
            if self._idle_ticks > (patience if unsent else 1 if draining else LINGER_TICKS):
                self._transport.abort() if self._transport.is_closing() else self._transport.close()
        elif self._write_paused:
            if self._idle_ticks > STALLED_TICKS:
                self._transport.abort()
        elif self._is_partial():
            self._partial_ticks += 1
            if self._partial_ticks > self._patience():
                self._time_out()
        elif not self._jobs and not self._cold.active and self._idle_ticks > options.keep_alive_s:
            self._transport.close()

    def _is_partial(self) -> bool:
        """Whether a request has begun and is not complete."""
        return not self._blocked and (self._has_more() or self._cold.waits_for_body)

    def _patience(self) -> int:
        options = self.engine.options
        if self._rest:
            return options.head_timeout_s
        # Of the whole body: what is left of it shrinks, and a steady upload would be cut off before its end.
        size = len(self._body) if self._body is not None else self._cold.body_left + self._cold.received
        return options.body_timeout_s + size // MIN_BYTES_PER_TICK

    def _time_out(self) -> None:
        if self._jobs or self._cold.response_started:
            self._transport.close()
            return
        protocol = self._head.protocol if self._head is not None else self._cold.active and self._cold.protocol
        self._drop_body()
        self._refuse(408, "http.timeout", "The request did not come in time.", "Send it faster.", protocol=protocol)

    def shutdown(self) -> None:
        """The server stops: close now when idle, else after the answer under way."""
        if self._jobs or self._is_partial() or self._blocked:
            return
        if self._cold.active:
            self._cold.close_after_response()
        else:
            self._transport.close()
