"""One small HTTP client: bounded in time and memory whatever the other side does, with an error for every way to fail.

Nothing is taken from the environment but the trusted certificates (`SSL_CERT_FILE`, `SSL_CERT_DIR`): no proxy and no
credentials file, so a request goes to the machine that its address names and to no other. For the same reason no
redirect is followed: the key would go along.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quickserveml_tui._version import __version__
from quickserveml_tui.client.addresses import check_url
from quickserveml_tui.client.replies import connection_error, refused, timed_out, too_large, wrong_answer
from quickserveml_tui.core.errors import CancelledError, UsageError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.wire.encodings import TooLargeError, decompress

if TYPE_CHECKING:
    import httpx

MIB = 1024 * 1024
CONNECT_S = 5.0
_CHUNK = 64 * 1024
_MAX_KEY = 1024


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer; `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_ms: float

    @property
    def is_json(self) -> bool:
        """Whether the server says that the body is JSON."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return kind == "application/json" or kind.endswith("+json")


class HttpClient:
    """Requests to one server, over connections that are kept between them. Not for several threads at once."""

    def __init__(self, url: str, *, key: str = "", timeout_s: float = 10.0, max_bytes: int = 16 * MIB) -> None:
        import httpx

        self.url = check_url(url)
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._deadline = _Deadline()
        headers = {"user-agent": f"quickserveml/{__version__}", "accept-encoding": "identity"}
        if key:
            headers["authorization"] = f"Bearer {check_key(key)}"
        try:
            httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise UsageError(
                "The address of the server is not one.",
                hint="It looks like http://127.0.0.1:8000.",
                code="usage.url",
                detail=str(error),
            ) from error
        self._client = httpx.Client(headers=headers, verify=_trust(self.url), trust_env=False, follow_redirects=False)

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def get(self, path: str, *, cancel: CancelToken | None = None) -> HttpAnswer:
        """The answer to a GET of a path below the address; see `request`."""
        return self.request("GET", path, cancel=cancel)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        max_bytes: int | None = None,
        raise_refusals: bool = True,
        cancel: CancelToken | None = None,
    ) -> HttpAnswer:
        """The whole answer, whatever its status, but for 401 and 403.

        `timeout_s` is for everything from connecting to the last byte. Raises `UnavailableError`: `server.unreachable`
        when there is no answer in time, `server.answer` for what is no HTTP, a redirect, and a body of more than
        `max_bytes`; `NotPermittedError` (`server.refused`) for 401 and 403 unless `raise_refusals` is off; and
        `CancelledError`.
        """
        import httpx

        limit_s = timeout_s or self._timeout_s
        deadline = self._deadline
        started = time.perf_counter()
        timeout = httpx.Timeout(limit_s, connect=min(CONNECT_S, limit_s))
        deadline.begin(limit_s, cancel)
        try:
            with self._client.stream(
                method,
                self.url + path,
                content=body,
                headers=dict(headers or {}),
                timeout=timeout,
                extensions={"trace": deadline.watch},
            ) as response:
                data = self._read(response, max_bytes or self._max_bytes)
                answer = HttpAnswer(
                    response.status_code,
                    {name.lower(): value for name, value in response.headers.items()},
                    data,
                    (time.perf_counter() - started) * 1e3,
                )
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            if cancel is not None and cancel.cancelled:
                raise CancelledError("Cancelled.", hint="Nothing was changed here.") from error
            if deadline.is_over or isinstance(error, httpx.TimeoutException):
                raise timed_out(self.url, limit_s) from error
            raise connection_error(self.url, error) from error
        finally:
            deadline.end()
        return self._checked(answer, raise_refusals=raise_refusals)

    def _read(self, response: httpx.Response, limit: int) -> bytes:
        declared = response.headers.get("content-length", "")
        if declared.isdigit() and int(declared[:20]) > limit:
            raise too_large(self.url, limit)
        chunks, size = [], 0
        for chunk in response.iter_raw(_CHUNK):
            size += len(chunk)
            if size > limit:
                raise too_large(self.url, limit)
            chunks.append(chunk)
        data = b"".join(chunks)
        encoding = response.headers.get("content-encoding", "")
        if not encoding:
            return data
        from quickserveml_tui.core.errors import DataError

        try:
            return decompress(data, encoding, limit)
        except TooLargeError as error:
            raise too_large(self.url, limit) from error
        except DataError as error:
            raise wrong_answer(self.url, "sent a compressed answer that cannot be read", error.message) from error

    def _checked(self, answer: HttpAnswer, *, raise_refusals: bool) -> HttpAnswer:
        if raise_refusals and answer.status in (401, 403):
            raise refused(self.url, answer.status, answer.body)
        if 300 <= answer.status < 400:
            target = answer.headers.get("location", "")
            raise wrong_answer(self.url, f"sends requests elsewhere ({answer.status})", target)
        return answer


def check_key(key: str) -> str:
    """An API key, if it can be sent. Raises `UsageError` (`usage.key`)."""
    if len(key) > _MAX_KEY or not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError(
            "The API key holds characters that no key has.",
            hint="Copy it again, without blanks or line breaks.",
            code="usage.key",
        )
    return key


def _trust(url: str) -> ssl.SSLContext:
    """What certificates are checked by. Without TLS an empty context: loading the real one takes 20 ms."""
    if url[:8].lower() != "https://":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    import httpx

    return httpx.create_ssl_context(trust_env=True)


class _Deadline:
    """Ends a request after its time, or when it is cancelled, wherever it waits.

    The timeouts of a client are for each read: a server that sends a byte now and then would never run into one. So the
    socket is shut down from another thread, and whoever reads from it wakes up.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._timer: threading.Timer | None = None
        self._forget: Any = None
        self._request = 0
        self.is_over = False

    def begin(self, limit_s: float, cancel: CancelToken | None) -> None:
        if cancel is not None:
            cancel.raise_if_cancelled()
        self.is_over = False
        self._request += 1
        number = self._request
        self._timer = threading.Timer(limit_s, self._cut, [number])
        self._timer.daemon = True
        self._timer.start()
        self._forget = cancel.on_cancel(lambda: self._cut(number)) if cancel is not None else None

    def watch(self, event: str, info: Mapping[str, Any]) -> None:
        """Take the socket of a new connection, which TLS wraps anew; called by the client as it works."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")
            if self.is_over:
                self._cut(self._request)

    def end(self) -> None:
        self._request += 1
        if self._timer is not None:
            self._timer.cancel()
        if self._forget is not None:
            self._forget()

    def _cut(self, number: int) -> None:
        if number != self._request:  # that one has its answer: the connection may be in use again
            return
        self.is_over = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
