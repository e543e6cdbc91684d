"""gRPC's own health protocol, byte by byte: the server for anybody, models for keys that reach them, changes, the end."""

import queue
import threading

import grpc
import pytest
from grpc_running import DEADLINE_S, Running, metadata

pytestmark = pytest.mark.xdist_group("matrix")

SERVING, NOT_SERVING, SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    found = Running(tmp_path_factory.mktemp("health"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def channel(running):
    with grpc.insecure_channel(f"127.0.0.1:{running.port}") as found:
        yield found


def question(service):
    return b"\x0a" + bytes([len(service)]) + service.encode() if service else b""


def check(channel, service="", headers=()):
    try:
        return channel.unary_unary("/grpc.health.v1.Health/Check")(
            question(service), metadata=headers, timeout=DEADLINE_S
        )
    except grpc.RpcError as error:
        return error.code().name


class Watching:
    """A call of `Watch` whose answers are waited for one by one."""

    def __init__(self, channel, service="", headers=()):
        self._answers = queue.Queue()
        self.call = channel.unary_stream("/grpc.health.v1.Health/Watch")(question(service), metadata=headers)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for answer in self.call:
                self._answers.put(answer)
            self._answers.put("OK")
        except grpc.RpcError as error:
            self._answers.put(error.code().name)

    def next(self):
        return self._answers.get(timeout=DEADLINE_S)


def publish(running, models):
    async def now():
        running.server.serving.publish(models)

    running.wait(now())


def test_anybody_may_ask_for_the_server(channel):
    for name in ("", "inference.GRPCInferenceService", "grpc.health.v1.Health"):
        assert check(channel, name) == SERVING
        watching = Watching(channel, name)
        assert watching.next() == SERVING
        watching.call.cancel()


def test_a_model_needs_a_key_that_reaches_it(running, channel):
    key = metadata(running, "infer")
    assert [check(channel, name, key) for name in ("tiny", "tiny@1")] == [SERVING] * 2
    assert [check(channel, name, key) for name in ("nope", "tiny@7")] == ["NOT_FOUND"] * 2
    assert check(channel, "tiny") == "UNAUTHENTICATED"
    assert Watching(channel, "tiny").next() == "UNAUTHENTICATED"
    assert check(channel, "tiny", metadata(running, "metrics")) == "PERMISSION_DENIED"
    other = metadata(running, "other")  # reaches other models: this one is as if it were not there
    assert check(channel, "tiny", other) == check(channel, "nope", other) == "NOT_FOUND"
    watching = Watching(channel, "tiny", other)
    assert watching.next() == SERVICE_UNKNOWN
    watching.call.cancel()


def test_a_message_that_is_none_is_refused(channel):
    for kind, method in (("unary_unary", "Check"), ("unary_stream", "Watch")):
        with pytest.raises(grpc.RpcError) as caught:
            list(getattr(channel, kind)(f"/grpc.health.v1.Health/{method}")(b"\xff\xff", timeout=DEADLINE_S))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_who_watches_is_told_of_every_change(running, channel):
    models = running.server.serving.models
    whole, model = Watching(channel), Watching(channel, "tiny", metadata(running, "infer"))
    assert (whole.next(), model.next()) == (SERVING, SERVING)
    publish(running, ())
    assert (whole.next(), model.next()) == (NOT_SERVING, SERVICE_UNKNOWN)
    publish(running, models)
    assert (whole.next(), model.next()) == (SERVING, SERVING)
    for watching in (whole, model):
        watching.call.cancel()
        assert watching.next() == "CANCELLED"


def test_a_key_that_is_revoked_stops_watching(running, channel):
    text = running.keys.create("watcher").text
    running.context.gatekeeper.refresh()
    watching = Watching(channel, "tiny", (("x-api-key", text),))
    assert watching.next() == SERVING
    running.keys.revoke("watcher")
    running.context.gatekeeper.refresh()
    assert watching.next() == "UNAUTHENTICATED"


def test_a_drain_tells_those_who_watch_and_does_not_wait_for_them(tmp_path):
    server = Running(tmp_path)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as found:
        watching = Watching(found)
        assert watching.next() == SERVING
        server.close()  # fails beyond DEADLINE_S, which is less than the drain's own limit
        assert (watching.next(), watching.next()) == (NOT_SERVING, "OK")
