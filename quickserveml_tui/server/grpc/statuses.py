"""Errors as gRPC states them."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.server.answers import RETRY_AFTER_S, Answer

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_CODE_KEY = "qsml-error-code"

Metadata = tuple[tuple[str, str], ...]


class CallError(Exception):
    """Ends a call with a status, a text, and metadata after it."""

    def __init__(self, status: int, text: str, metadata: Metadata = ()) -> None:
        super().__init__(text)
        self.status = status
        """The HTTP status that says the same; logs and counters use it."""
        self.text = text
        self.metadata = metadata

    @property
    def code(self) -> grpc.StatusCode:
        """The status as gRPC names it."""
        return _CODES.get(self.status, grpc.StatusCode.INTERNAL)


def call_error(error: QuickServeError, headers: Sequence[tuple[str, str]] = ()) -> CallError:
    """An error of ours as the end of a call; `headers` (Retry-After and others) go into its metadata."""
    text = f"{error.message} {error.hint}".rstrip()
    metadata = [(name.lower(), value) for name, value in headers]
    if error.http_status == 503 and not any(name == "retry-after" for name, _ in metadata):
        metadata.append(("retry-after", str(RETRY_AFTER_S)))
    return CallError(error.http_status, text, (*_pushback(metadata), (_CODE_KEY, error.code)))


def _pushback(metadata: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """With the time to wait in the form that clients of gRPC heed when they retry by themselves, too."""
    for name, value in metadata:
        if name == "retry-after" and value.isdigit():
            return [*metadata, ("grpc-retry-pushback-ms", str(int(value) * 1000))]
    return metadata


def error_to_answer(error: QuickServeError) -> Answer:
    """An error on its way through a queue, which knows answers only."""
    return Answer(error.http_status, f"{error.code}\n{error.message} {error.hint}".rstrip().encode())


def answer_to_error(answer: Answer) -> CallError:
    """The error in an answer of `error_to_answer`."""
    code, _, text = answer.body.decode().partition("\n")
    metadata = [("retry-after", str(RETRY_AFTER_S))] if answer.status == 503 else []
    return CallError(answer.status, text, (*_pushback(metadata), (_CODE_KEY, code)))
