"""The one inference session class: inside the runner, and in-process in the server."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime

from quickserveml_tui.core.errors import ModelError, QuickServeError, UnavailableError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.values import Value
from quickserveml_tui.runtime import ort_values
from quickserveml_tui.runtime.dtypes import tensor_spec
from quickserveml_tui.runtime.ort_errors import load_error, run_error
from quickserveml_tui.runtime.settings import DEFAULT_SETTINGS, SessionSettings

if TYPE_CHECKING:
    from quickserveml_tui.core.jobs import CancelToken

_QUIET = 4  # fatal only: everything worth knowing arrives as an exception
_LEVELS = {
    "disable": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}

onnxruntime.set_default_logger_severity(_QUIET)


def runtime_name() -> str:
    """Name and version of the runtime: `onnxruntime 1.32.0`."""
    return f"onnxruntime {onnxruntime.__version__}"


def _short_name() -> str:
    return "onnxruntime " + ".".join(onnxruntime.__version__.split(".")[:2])


def available_providers() -> tuple[str, ...]:
    """Execution providers of this installation, preferred first."""
    return tuple(onnxruntime.get_available_providers())


def require_model_file(path: Path) -> int:
    """Size in bytes of the regular, non-empty file at `path`; a FIFO or device would block for ever.

    Raises `ModelError` (`model.missing`, `model.not_a_file`, `model.unreadable`).
    """
    name = safe_text(path.name, 120)
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise ModelError(f"There is no file “{name}”.", hint="Check the path.", code="model.missing") from error
    except (OSError, ValueError) as error:
        raise ModelError(
            f"“{name}” cannot be opened.", hint="Check the path and its permissions.", detail=safe_text(error)
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"“{name}” is not a file.", hint="Name an .onnx file.", code="model.not_a_file")
    if status.st_size == 0:
        raise ModelError(f"“{name}” is empty.", hint="Export or download the model again.")
    return status.st_size


def _options(settings: SessionSettings) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = settings.intra_op_threads
    options.inter_op_num_threads = settings.inter_op_threads
    if settings.inter_op_threads > 1:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    options.graph_optimization_level = _LEVELS[settings.optimization]
    spinning = "1" if settings.spinning else "0"
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    options.add_session_config_entry("session.inter_op.allow_spinning", spinning)
    return options


def _open(path: Path, settings: SessionSettings) -> onnxruntime.InferenceSession:
    if settings.provider not in available_providers():
        raise UnavailableError(
            f"The execution provider {safe_text(settings.provider, 60)} is not part of this onnxruntime.",
            hint=f"Available: {', '.join(available_providers())}.",
            code="provider.unavailable",
        )
    require_model_file(path)
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ModelError(
            f"The path to “{safe_text(path.name, 120)}” is not valid Unicode, and onnxruntime cannot open it.",
            hint="Rename the file, or add it to the catalog, which keeps a copy under another name.",
        ) from error
    try:  # the binding raises RuntimeError, ValueError and a dozen types of its own
        return onnxruntime.InferenceSession(
            str(path),
            _options(settings),
            providers=[settings.provider],
            enable_fallback=0,  # it would print, and load the model a second time with the same provider
        )
    except Exception as error:
        raise load_error(error, path, _short_name()) from error


class Session:
    """A loaded model.

    `run` may be called from several threads at once. Raises `ModelError` when the file cannot be used,
    `UnavailableError` (`provider.unavailable`) for a provider that this installation lacks.
    """

    def __init__(self, path: Path, settings: SessionSettings = DEFAULT_SETTINGS) -> None:
        self.path = path
        self.settings = settings
        self._session = _open(path, settings)
        self.inputs = tuple(tensor_spec(arg.name, arg.type, arg.shape) for arg in self._session.get_inputs())
        self.outputs = tuple(tensor_spec(arg.name, arg.type, arg.shape) for arg in self._session.get_outputs())
        self._as_ort_values = ort_values.needs_ort_values(self.outputs)
        self._active: set[onnxruntime.RunOptions] = set()
        self._lock = threading.Lock()

    @property
    def ort(self) -> onnxruntime.InferenceSession:
        """The runtime's own session, for io-binding."""
        return self._session

    @property
    def provider(self) -> str:
        """The execution provider that took the model."""
        providers: list[str] = self._session.get_providers()
        return providers[0]

    def run(
        self,
        feeds: Mapping[str, Value],
        outputs: Sequence[str] | None = None,
        cancel: CancelToken | None = None,
    ) -> dict[str, Value]:
        """Outputs by name for inputs by name; None as an input leaves an optional one without a value.

        Raises `DataError` when the inputs do not fit, `RunnerError` (`runtime.out_of_memory`) when memory runs out and
        `CancelledError` when `cancel` or `terminate()` stopped it.
        """
        if not self.outputs:
            raise ModelError(
                "The model has no outputs.", hint="Export it with at least one output.", code="model.no_outputs"
            )
        if cancel is not None:
            cancel.raise_if_cancelled()
        names = list(outputs) if outputs is not None else [spec.name for spec in self.outputs]
        options = onnxruntime.RunOptions()
        with self._lock:
            self._active.add(options)
        forget = cancel.on_cancel(lambda: setattr(options, "terminate", True)) if cancel is not None else None
        try:
            values = self._run(names, feeds, options)
        except QuickServeError:
            raise
        except Exception as error:
            raise run_error(error, self.path, _short_name()) from error
        finally:
            if forget is not None:
                forget()
            with self._lock:
                self._active.discard(options)
        return dict(zip(names, values, strict=True))

    def _run(self, names: list[str], feeds: Mapping[str, Value], options: onnxruntime.RunOptions) -> list[Value]:
        return self.prepare(feeds, names)(options)

    def prepare(self, feeds: Mapping[str, Value], names: list[str]) -> ort_values.Run:
        """A call for many runs on the same inputs; it raises what the runtime raises."""
        return ort_values.prepare(self._session, names, feeds, self.inputs, as_ort_values=self._as_ort_values)

    @contextmanager
    def interruptible(self) -> Iterator[onnxruntime.RunOptions]:
        """Options for many runs through `ort`, which `terminate()` stops like those of `run`."""
        options = onnxruntime.RunOptions()
        with self._lock:
            self._active.add(options)
        try:
            yield options
        finally:
            with self._lock:
                self._active.discard(options)

    def close(self) -> None:
        """Nothing to let go of: the runtime does with the object."""

    def terminate(self) -> None:
        """Stop the runs that are under way, within about 40 ms; they raise `CancelledError`."""
        with self._lock:
            for options in self._active:
                options.terminate = True
