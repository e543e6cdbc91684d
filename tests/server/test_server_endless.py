"""Inputs that make a model run for ever: others are served meanwhile, the request ends, and so does the server."""

import asyncio
import contextlib
import json
import threading

import pytest
from server_process import infer_body, request, running

from quickserveml_tui.core.serving import ServedEntry
from quickserveml_tui.server.batcher import Batcher
from quickserveml_tui.server.dialects import INFERENCE_PROTOCOL
from quickserveml_tui.server.jobs import Job
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.server.slow import SlowLog
from quickserveml_tui.services.serving_models import ServedModel
from quickserveml_tui.services.serving_stats import Counters

pytestmark = pytest.mark.xdist_group("server")

TINY = request("/v2/models/tiny/infer", infer_body([[1, 2, 3, 4]]))


def loop_request(times: int) -> bytes:
    tensor = {"name": "n", "shape": [1], "datatype": "INT64", "data": [times]}
    return request("/v2/models/endless/infer", json.dumps({"inputs": [tensor]}).encode())


@contextlib.contextmanager
def server_in_a_loop(model_paths, log, **options):
    """A server whose model runs for ever, with the connection that asked for it."""
    with running([model_paths["endless"], model_paths["tiny"]], log, **options) as server, server.connect() as stuck:
        stuck.send(loop_request(3))
        assert stuck.reply().json()["outputs"][0]["data"] == [3]
        stuck.send(loop_request(2**62))
        yield server, stuck


def test_a_run_without_end_is_stopped_and_harms_no_other_model(model_paths, tmp_path):
    with server_in_a_loop(model_paths, tmp_path / "log", run_timeout_s=2) as (server, stuck):
        with server.connect() as other:
            other.send(TINY)
            assert other.reply().status == 200
        reply = stuck.reply()
        assert (reply.status, "took too long" in reply.json()["error"]) == (504, True)
        stuck.send(loop_request(5))
        assert stuck.reply().json()["outputs"][0]["data"] == [5]
        assert "Traceback" not in server.log.read_text()


def test_a_run_without_end_does_not_keep_the_server_from_stopping(model_paths, tmp_path):
    with server_in_a_loop(model_paths, tmp_path / "log", drain_timeout_s=1) as (server, _):
        server.terminate()
        assert server.wait() == 0
        assert "Traceback" not in server.log.read_text()


def test_large_requests_of_a_cheap_model_run_in_a_thread(model_paths):
    entry = ServedEntry(name="tiny", version="1", path=str(model_paths["tiny"]), digest="", slot=0, ref="tiny")
    model = ServedModel(entry, Counters.create(None).model(0))
    assert model.traits.inline
    threads = {}

    class Asked(Job):
        __slots__ = ("name", "seen")

        def render(self, outcome):
            threads[self.name] = threading.current_thread()
            return super().render(outcome)

        def deliver(self, answer):
            self.seen.set_result(answer.status)

    async def ask(batcher, name, rows):
        job = Asked(model, INFERENCE_PROTOCOL)
        job.name, job.seen = name, asyncio.get_running_loop().create_future()
        job.accept(model.decoder.decode(infer_body([[1, 2, 3, 4]] * rows)))
        batcher.submit(job)
        return await job.seen

    async def both():
        counters = Counters.create(None)
        batcher = Batcher(model, asyncio.get_running_loop(), ServeOptions(), SlowLog(counters), lambda _batcher: None)
        try:
            assert await ask(batcher, "small", 1) == 200
            assert await ask(batcher, "large", model.traits.inline_elements // 4 + 1) == 200
        finally:
            batcher.close()

    asyncio.run(both())
    assert threads["small"] is threading.main_thread()
    assert threads["large"] is not threading.main_thread()
