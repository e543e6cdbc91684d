"""The two ways to ask for an inference: the Open Inference Protocol and the short form."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.server.answers import BINARY, JSON, Answer, error_answer
from quickserveml_tui.services.serving_models import ServedModel
from quickserveml_tui.wire.oip_response import require_finite
from quickserveml_tui.wire.predict import encode_predictions
from quickserveml_tui.wire.requests import InferRequest

if TYPE_CHECKING:
    from quickserveml_tui.server.runs import Job
    from quickserveml_tui.wire.request_forms import RequestForm

_AS_BINARY = "Ask for it with “binary_data”: true."


class AnswerForm(Protocol):
    """How answers are written."""

    def encode(self, job: Job, outputs: Sequence[Any], /) -> Answer:
        """The answer for outputs in the order of the request's plan. Raises `QuickServeError`."""
        ...

    def encode_rows(self, jobs: Sequence[Job], outputs: Sequence[Any], /) -> list[Answer] | None:
        """Answers of requests of one row each, from the finite outputs of their shared run; None where it cannot."""
        ...

    def error(self, error: QuickServeError, /) -> Answer:
        """The answer for an error."""
        ...


class Dialect(AnswerForm, Protocol):
    """How requests in bodies are read, too."""

    def form(self, model: ServedModel, body: bytes, /) -> RequestForm | None:
        """The known form that a body has, so that it need not be decoded; None where it has none."""
        ...

    def decode(self, model: ServedModel, body: bytes | memoryview, json_length: int | None, /) -> InferRequest:
        """The request in a body. Raises `DataError`."""
        ...


class _InferenceProtocol:
    def decode(self, model: ServedModel, body: bytes | memoryview, json_length: int | None) -> InferRequest:
        return model.decoder.decode(body, json_length)

    def form(self, model: ServedModel, body: bytes) -> RequestForm | None:
        return model.decoder.forms.find(body)

    def encode(self, job: Job, outputs: Sequence[Any]) -> Answer:
        plan = job.request.plan
        if not job.finite:
            as_json = [index for index, binary in enumerate(plan.binary) if not binary]
            require_finite([plan.names[i] for i in as_json], [outputs[i] for i in as_json], _AS_BINARY)
        body, json_length = job.model.encoder.encode(plan, job.request.id, outputs)
        return Answer(200, body, JSON if json_length is None else BINARY, json_length)

    def encode_rows(self, jobs: Sequence[Job], outputs: Sequence[Any]) -> list[Answer] | None:
        first = jobs[0]
        plan = first.request.plan
        if any(job.request.plan is not plan for job in jobs):
            return None
        bodies = first.model.encoder.encode_rows(plan, [job.request.id for job in jobs], outputs)
        return [Answer(200, body) for body in bodies] if bodies is not None else None

    def error(self, error: QuickServeError) -> Answer:
        return error_answer(error, protocol=True)


class _ShortForm:
    def decode(self, model: ServedModel, body: bytes | memoryview, _json_length: int | None) -> InferRequest:
        return model.predict_decoder.decode(body)

    def form(self, _model: ServedModel, _body: bytes) -> None:
        return None

    def encode(self, job: Job, outputs: Sequence[Any]) -> Answer:
        elapsed_ms = (time.perf_counter_ns() - job.arrived) / 1e6
        return Answer(200, encode_predictions(dict(zip(job.request.plan.names, outputs, strict=True)), elapsed_ms))

    def encode_rows(self, _jobs: Sequence[Job], _outputs: Sequence[Any]) -> None:
        return None

    def error(self, error: QuickServeError) -> Answer:
        return error_answer(error, protocol=False)


INFERENCE_PROTOCOL: Dialect = _InferenceProtocol()
SHORT_FORM: Dialect = _ShortForm()
