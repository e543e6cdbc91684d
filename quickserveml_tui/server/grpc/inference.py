"""Inference calls: the queues and checks of HTTP, with protobuf messages in and out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from quickserveml_tui.core.errors import DataError, QuickServeError
from quickserveml_tui.server.answers import Answer
from quickserveml_tui.server.dialects import AnswerForm
from quickserveml_tui.server.engine import Engine
from quickserveml_tui.server.grpc.statuses import answer_to_error, error_to_answer
from quickserveml_tui.server.runs import Job
from quickserveml_tui.services.serving_models import ServedModel
from quickserveml_tui.wire.grpc_infer import GrpcEncoder, read_request


class _Protobuf:
    """Answers are encoded messages; errors wait in them until the call ends."""

    def __init__(self) -> None:
        self._encoders: WeakKeyDictionary[ServedModel, GrpcEncoder] = WeakKeyDictionary()

    def encode(self, job: Job, outputs: Sequence[Any]) -> Answer:
        model = job.model
        encoder = self._encoders.get(model)
        if encoder is None:
            encoder = self._encoders[model] = GrpcEncoder(model.name, model.version, model.outputs)
        return Answer(200, encoder.encode(job.request.plan, job.request.id, outputs))

    def encode_rows(self, _jobs: Sequence[Job], _outputs: Sequence[Any]) -> None:
        return None

    def error(self, error: QuickServeError) -> Answer:
        return error_to_answer(error)


PROTOBUF: AnswerForm = _Protobuf()


class GrpcJob(Job):
    """A request whose call waits for the answer."""

    __slots__ = ("answer",)

    def __init__(self, model: ServedModel, answer: asyncio.Future[Answer], arrived: int) -> None:
        super().__init__(model, PROTOBUF)
        self.arrived = arrived
        self.answer = answer

    def deliver(self, answer: Answer) -> None:
        """Wake the call, unless its client went away."""
        if not self.answer.done():
            self.answer.set_result(answer)


def submit(engine: Engine, message: Any, remaining_s: float | None, arrived: int) -> GrpcJob:
    """Queue the request in a `ModelInferRequest`; it may wait as long as its caller does, `remaining_s`.

    It came at `arrived` by `time.perf_counter_ns`: reading the message counts as waiting, as over HTTP.

    Raises `NotFoundError`; other errors come as the answer, and are counted with the model's.
    """
    model = engine.serving.find(message.model_name, message.model_version)
    job = GrpcJob(model, asyncio.get_running_loop().create_future(), arrived)
    try:
        job.accept(read_request(model.decoder, message, remaining_s))
    except DataError as error:
        job.finish(PROTOBUF.error(error))
    else:
        engine.batcher(model).submit(job)
    return job


async def answer_of(job: GrpcJob) -> bytes:
    """The encoded answer. Raises `CallError`; a cancelled call takes its request out of the queue."""
    answer = await job.answer
    if answer.status != 200:
        raise answer_to_error(answer)
    return answer.body
