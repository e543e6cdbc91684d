"""The two ways to ask for an inference: the Open Inference Protocol and the short form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.server.answers import BINARY, JSON, Answer, error_answer
from quickserveml_tui.services.serving_models import ServedModel
from quickserveml_tui.wire.oip_response import require_finite
from quickserveml_tui.wire.predict import encode_predictions
from quickserveml_tui.wire.requests import InferRequest


class Dialect(Protocol):
    """How requests are read and answers written."""

    def decode(self, model: ServedModel, body: bytes | memoryview, json_length: int | None, /) -> InferRequest:
        """The request in a body. Raises `DataError`."""
        ...

    def encode(self, model: ServedModel, request: InferRequest, outputs: Sequence[Any], elapsed_ns: int, /) -> Answer:
        """The answer for outputs in the order of the request's plan. Raises `QuickServeError`."""
        ...

    def error(self, error: QuickServeError, /) -> Answer:
        """The answer for an error."""
        ...


class _InferenceProtocol:
    def decode(self, model: ServedModel, body: bytes | memoryview, json_length: int | None) -> InferRequest:
        return model.decoder.decode(body, json_length)

    def encode(self, model: ServedModel, request: InferRequest, outputs: Sequence[Any], _elapsed_ns: int) -> Answer:
        plan = request.plan
        for name, binary, array in zip(plan.names, plan.binary, outputs, strict=True):
            if not binary:
                require_finite((name,), (array,), "Ask for it with “binary_data”: true.")
        body, json_length = model.encoder.encode(plan, request.id, outputs)
        return Answer(200, body, JSON if json_length is None else BINARY, json_length)

    def error(self, error: QuickServeError) -> Answer:
        return error_answer(error, protocol=True)


class _ShortForm:
    def decode(self, model: ServedModel, body: bytes | memoryview, _json_length: int | None) -> InferRequest:
        return model.predict_decoder.decode(body)

    def encode(self, _model: ServedModel, request: InferRequest, outputs: Sequence[Any], elapsed_ns: int) -> Answer:
        named = dict(zip(request.plan.names, outputs, strict=True))
        return Answer(200, encode_predictions(named, round(elapsed_ns / 1e6, 4)))

    def error(self, error: QuickServeError) -> Answer:
        return error_answer(error, protocol=False)


INFERENCE_PROTOCOL: Dialect = _InferenceProtocol()
SHORT_FORM: Dialect = _ShortForm()
