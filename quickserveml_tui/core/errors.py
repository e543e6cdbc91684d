"""Typed errors: each says what happened, why, and what to do, and carries the exit code of a command."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    GATE_FAILED = 1
    USAGE = 2
    BAD_INPUT = 3
    UNAVAILABLE = 4
    NOT_PERMITTED = 5
    RUNTIME_CRASHED = 6
    INTERRUPTED = 130


class QuickServeError(Exception):
    """Base of all errors a user can meet.

    `code` is stable and dotted (`model.unreadable`); `message` is one sentence that says what and why;
    `hint` says what to do next; `detail` may hold a longer raw text, such as the runtime's own words.
    """

    default_code: ClassVar[str] = "internal"
    exit_code: ClassVar[ExitCode] = ExitCode.GATE_FAILED
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "", code: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code
        self.detail = detail

    def to_doc(self) -> dict[str, dict[str, Any]]:
        """The error document that `--json` prints."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}


class UsageError(QuickServeError):
    """The request itself is malformed: a bad option, reference, name or setting."""

    default_code = "usage"
    exit_code = ExitCode.USAGE
    http_status = 400


class FilterError(UsageError):
    """A filter that cannot be read; `column` is where, counted from 1, and `text` the filter where it is known."""

    default_code = "usage.filter"
    text = ""

    def __init__(self, message: str, *, column: int, hint: str = "", code: str = "", detail: str = "") -> None:
        super().__init__(message, hint=hint, code=code, detail=detail)
        self.column = column

    def to_doc(self) -> dict[str, dict[str, Any]]:
        """The error document, with the column."""
        document = super().to_doc()
        document["error"]["column"] = self.column
        return document


class NotFoundError(QuickServeError):
    """What the reference names does not exist."""

    default_code = "reference.not_found"
    exit_code = ExitCode.BAD_INPUT
    http_status = 404


class ConflictError(QuickServeError):
    """The write lost against another one, or the name is taken."""

    default_code = "conflict"
    exit_code = ExitCode.BAD_INPUT
    http_status = 409


class ModelError(QuickServeError):
    """The model file cannot be used."""

    default_code = "model.unreadable"
    exit_code = ExitCode.BAD_INPUT
    http_status = 400


class ModelUnrunnableError(ModelError):
    """The model is readable, but its trial failed: it can be inspected and nothing else."""

    default_code = "model.unrunnable"


class DataError(QuickServeError):
    """Input data does not fit the model or cannot be read."""

    default_code = "data.invalid"
    exit_code = ExitCode.BAD_INPUT
    http_status = 400


class PreconditionError(ConflictError):
    """What is to be changed is no longer what the caller saw."""

    default_code = "precondition.failed"
    http_status = 412


class GateError(QuickServeError):
    """A check that guards what was asked for failed, such as golden outputs before a benchmark."""

    default_code = "gate.failed"
    exit_code = ExitCode.GATE_FAILED
    http_status = 409


class StoreError(QuickServeError):
    """A store is locked, full, corrupt or of a newer schema."""

    default_code = "store.unavailable"
    exit_code = ExitCode.UNAVAILABLE
    http_status = 503


OPEN_FOR_WRITING = "Open it without --read-only, QSML_READ_ONLY or the setting read_only."
"""What to do about a home that was opened read-only: these are all the ways to ask for it."""


class ReadOnlyError(StoreError):
    """Nothing may be written: the program or a store was opened read-only."""

    default_code = "store.read_only"


class UnavailableError(QuickServeError):
    """A server, port or optional dependency that is needed is not there."""

    default_code = "unavailable"
    exit_code = ExitCode.UNAVAILABLE
    http_status = 503


class NotPermittedError(QuickServeError):
    """The caller may not do this."""

    default_code = "not_permitted"
    exit_code = ExitCode.NOT_PERMITTED
    http_status = 403


class UnauthenticatedError(NotPermittedError):
    """Nobody knows who the caller is: no key, or one that does not hold."""

    default_code = "auth.missing"
    http_status = 401


class RunnerError(QuickServeError):
    """The runtime failed on the model in a way that is not the user's data: crash, limit, timeout."""

    default_code = "runtime.failed"
    exit_code = ExitCode.RUNTIME_CRASHED


class RunnerCrashedError(RunnerError):
    """The runner process died; `signal` names the signal where there was one (`SIGFPE`)."""

    default_code = "runtime.crashed"

    def __init__(self, message: str, *, signal: str = "", hint: str = "", code: str = "", detail: str = "") -> None:
        super().__init__(message, hint=hint, code=code, detail=detail)
        self.signal = signal


class RunnerTimeoutError(RunnerError):
    """The runner did not answer within its limit and was ended."""

    default_code = "runtime.timeout"


class CancelledError(QuickServeError):
    """The user cancelled; partial results, where there are any, were kept."""

    default_code = "cancelled"
    exit_code = ExitCode.INTERRUPTED
    http_status = 499
