"""gRPC beside HTTP: the same keys, limits and errors on every method, and ports that workers share."""

import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from dataclasses import replace

import grpc
import numpy as np
import pytest
from grpc_running import DEADLINE_S, Running, infer_request, metadata

import quickserveml_tui.server.grpc as package
from quickserveml_tui.core.access import Permission, RateLimit
from quickserveml_tui.core.errors import UnavailableError
from quickserveml_tui.server.grpc.inference import answer_of, submit
from quickserveml_tui.server.grpc.methods import METHODS
from quickserveml_tui.services.serving_documents import model_statistics
from quickserveml_tui.wire.grpc_messages import message, message_class
from quickserveml_tui.wire.grpc_tables import SERVICE

pytestmark = pytest.mark.xdist_group("matrix")

HOLDS = {"infer": {Permission.INFER}, "read": {Permission.READ}, "metrics": set(), "admin": set(Permission)}
PUBLIC = {"ServerLive", "ServerReady"}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    found = Running(tmp_path_factory.mktemp("grpc"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def channel(running):
    with grpc.insecure_channel(f"127.0.0.1:{running.port}") as found:
        yield found


def request_of(method, model="tiny"):
    if method.name in ("ModelInfer", "ModelStreamInfer"):
        return infer_request(model)
    document = {method.model_field: model} if method.model_field else {}
    return message(f"{method.name}Request", document)


def call(channel, method, request, headers):
    """The code of a call, and its text or answer."""
    raw = request if isinstance(request, bytes) else request.SerializeToString()
    try:
        if method.streams:
            (answer,) = channel.stream_stream(method.path)(iter([raw]), metadata=headers, timeout=DEADLINE_S)
            found = message_class("ModelStreamInferResponse").FromString(answer)
            return ("OK" if not found.error_message else "ERROR"), found.error_message or found
        answer = channel.unary_unary(method.path)(raw, metadata=headers, timeout=DEADLINE_S)
        name = "ModelInferResponse" if method.name == "ModelInfer" else f"{method.name}Response"
        return "OK", message_class(name).FromString(answer)
    except grpc.RpcError as error:
        return error.code().name, error


def test_few_methods_are_public_and_changes_need_more():
    assert {item.name for item in METHODS if item.permission is Permission.PUBLIC} == PUBLIC
    assert {item.name for item in METHODS if item.permission is Permission.OPERATE} == {
        "RepositoryModelLoad",
        "RepositoryModelUnload",
    }
    assert all(item.model_field for item in METHODS if item.permission is Permission.OPERATE)


@pytest.mark.parametrize("caller", [None, "wrong", "expired", "revoked"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_without_a_key_that_holds_only_public_methods_answer(running, channel, method, caller):
    code, found = call(channel, method, request_of(method), metadata(running, caller))
    if method.permission is Permission.PUBLIC:
        assert code == "OK"
    elif method.streams:
        assert code == "ERROR"
        assert "key" in found
    else:
        assert code == "UNAUTHENTICATED"
        assert dict(found.trailing_metadata())["qsml-error-code"].startswith("auth.")


@pytest.mark.parametrize("caller", HOLDS)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_key_does_what_its_scopes_say_and_no_more(running, channel, method, caller):
    code, found = call(channel, method, request_of(method), metadata(running, caller))
    if method.permission is Permission.PUBLIC or method.permission in HOLDS[caller]:
        assert code == "OK", found
    elif method.streams:
        assert "lacks the scope" in found
    else:
        assert code == "PERMISSION_DENIED"


@pytest.mark.parametrize("method", [item for item in METHODS if item.model_field], ids=lambda method: method.name)
def test_a_model_that_a_key_does_not_reach_looks_like_one_that_is_not_there(running, channel, method):
    headers = metadata(running, "other")
    texts = []
    for model in ("tiny", "nope"):
        code, found = call(channel, method, request_of(method, model), headers)
        text = found if isinstance(found, str) else found.details()
        texts.append((code, text.replace(model, "M")))
    assert texts[0] == texts[1]
    assert texts[0][0] in ("NOT_FOUND", "ERROR")


def test_lists_leave_out_what_a_key_does_not_reach(running, channel):
    for name, field in (("RepositoryIndex", "models"), ("ModelStatistics", "model_stats")):
        method = next(item for item in METHODS if item.name == name)
        seen = {}
        for caller in ("admin", "other"):
            code, found = call(channel, method, message(f"{name}Request"), metadata(running, caller))
            assert code == "OK"
            seen[caller] = [item.name for item in getattr(found, field)]
        assert seen == {"admin": ["tiny"], "other": []}


def test_what_is_not_offered_is_unimplemented(channel):
    for name in ("SystemSharedMemoryStatus", "CudaSharedMemoryRegister", "TraceSetting", "LogSettings", "Nothing"):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"/{SERVICE}/{name}")(b"", timeout=DEADLINE_S)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_broken_messages_are_refused_and_the_next_call_works(running, channel):
    infer = next(item for item in METHODS if item.name == "ModelInfer")
    headers = metadata(running, "infer")
    missing = message("ModelInferRequest", {"model_name": "tiny"})
    both = infer_request(typed=True)
    both.raw_input_contents.append(bytes(16))
    wrong_field = infer_request(typed=True)
    wrong_field.inputs[0].contents.ClearField("fp32_contents")
    wrong_field.inputs[0].contents.int64_contents.extend([1] * 4)
    uneven = infer_request()
    uneven.raw_input_contents.append(b"")
    short = infer_request()
    short.raw_input_contents[0] = b"123"
    negative = infer_request()
    negative.inputs[0].shape[:] = [-1, 4]
    for request in (b"\xff\xff", missing, both, wrong_field, uneven, short, negative):
        code, found = call(channel, infer, request, headers)
        assert code == "INVALID_ARGUMENT", found
        assert len(found.details()) > 15
    assert call(channel, infer, infer_request(), headers)[0] == "OK"


def test_typed_requests_get_typed_answers_and_raw_ones_raw_answers(running, channel):
    infer = next(item for item in METHODS if item.name == "ModelInfer")
    headers = metadata(running, "infer")
    _, raw = call(channel, infer, infer_request(), headers)
    _, typed = call(channel, infer, infer_request(typed=True), headers)
    values = np.frombuffer(raw.raw_output_contents[0], np.float32)
    assert np.array_equal(values, np.array(typed.outputs[0].contents.fp32_contents, np.float32))
    assert not typed.raw_output_contents
    assert not raw.outputs[0].HasField("contents")
    asked = infer_request(typed=True)
    asked.parameters["binary_data_output"].bool_param = True
    assert call(channel, infer, asked, headers)[1].raw_output_contents


def test_requests_that_share_a_run_get_their_own_answers(running):
    model = running.server.serving.find("tiny")
    runs = model.stats.batch.count
    rows = np.random.default_rng(3).standard_normal((32, 1, 4)).astype(np.float32)

    async def ask():
        jobs = []
        for index, row in enumerate(rows):  # all in one turn of the loop: they wait for the next one together
            asked = infer_request(request_id=str(index))
            asked.raw_input_contents[0] = row.tobytes()
            jobs.append(submit(running.server.engine, asked, None, time.perf_counter_ns()))
        return [await answer_of(job) for job in jobs]

    for index, raw in enumerate(running.wait(ask())):
        found = message_class("ModelInferResponse").FromString(raw)
        assert found.id == str(index)
        (want,) = model.run({"x": rows[index]}, ["y"])
        assert np.allclose(np.frombuffer(found.raw_output_contents[0], np.float32), want[0], rtol=1e-5, atol=1e-6)
    assert model.stats.batch.count - runs < len(rows)


def statistics(running, channel):
    method = next(item for item in METHODS if item.name == "ModelStatistics")
    code, found = call(channel, method, message("ModelStatisticsRequest", {"name": "tiny"}), metadata(running, "infer"))
    assert code == "OK"
    return found.model_stats[0]


def test_statistics_count_runs_by_their_size_over_all_workers(running, channel):
    engine, before = running.server.engine, statistics(running, channel)
    model = running.server.serving.find("tiny")

    async def ask():
        for count in (3, 1, 1):  # each in one turn of the loop
            for job in [submit(engine, infer_request(), None, time.perf_counter_ns()) for _ in range(count)]:
                await answer_of(job)

    running.wait(ask())
    running.server.counters[1].model(model.entry.slot).ran(2, 3, 1000, 10, 20)  # as another worker counts
    found = statistics(running, channel)

    def grown(read):
        return read(found) - read(before)

    def sizes(stats):
        return Counter({item.batch_size: item.compute_infer.count for item in stats.batch_stats})

    assert sizes(found) - sizes(before) == {1: 2, 3: 2}
    assert grown(lambda stats: stats.execution_count) == 4
    assert grown(lambda stats: stats.inference_count) == 8
    assert sum(sizes(found).values()) == found.execution_count
    assert sum(size * count for size, count in sizes(found).items()) == found.inference_count
    for part in ("compute_input", "compute_infer", "compute_output"):
        assert grown(lambda stats, part=part: getattr(stats.inference_stats, part).count) == 7
        assert grown(lambda stats, part=part: getattr(stats.inference_stats, part).ns) > 0
    own = running.server.counters[0].model(model.entry.slot)
    assert found.inference_stats.compute_input.ns == own.input_ns + 20
    assert found.inference_stats.compute_output.ns == own.output_ns + 40
    over_http = model_statistics(model, running.server.counters)
    assert message("ModelStatistics", over_http) == found


def test_a_key_that_is_revoked_stops_working_within_a_stream(running, channel):
    text = running.keys.create("short-lived").text
    running.context.gatekeeper.refresh()
    more = threading.Event()

    def requests():
        yield infer_request(request_id="a").SerializeToString()
        assert more.wait(DEADLINE_S)
        yield infer_request(request_id="b").SerializeToString()

    headers = (("x-api-key", text),)
    answers = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(requests(), metadata=headers, timeout=DEADLINE_S)
    kind = message_class("ModelStreamInferResponse")
    first = kind.FromString(next(answers))
    assert not first.error_message
    running.keys.revoke("short-lived")
    running.context.gatekeeper.refresh()
    more.set()
    second = kind.FromString(next(answers))
    assert "key" in second.error_message
    assert second.infer_response.id == "b"


def test_a_key_that_asks_too_often_is_told_when_to_come_back(running, channel):
    text = running.keys.create("slow-key", limit=RateLimit(per_second=0.01, burst=1)).text
    infer = next(item for item in METHODS if item.name == "ModelInfer")
    headers = (("x-api-key", text),)
    running.context.gatekeeper.refresh()
    assert call(channel, infer, infer_request(), headers)[0] == "OK"
    code, found = call(channel, infer, infer_request(), headers)
    assert code == "RESOURCE_EXHAUSTED"
    trailing = dict(found.trailing_metadata())
    assert trailing["qsml-error-code"] == "rate.limited"
    assert int(trailing["retry-after"]) > 1


def test_methods_without_a_model_are_limited_too_but_not_public_ones(running, channel):
    headers = (("x-api-key", running.keys.create("slow-two", limit=RateLimit(per_second=0.01, burst=1)).text),)
    running.context.gatekeeper.refresh()
    methods = {item.name: item for item in METHODS}
    codes = [
        call(channel, methods[name], request_of(methods[name]), headers)[0]
        for name in ("ServerLive", "ServerMetadata", "RepositoryIndex", "ServerReady")
    ]
    assert codes == ["OK", "OK", "RESOURCE_EXHAUSTED", "OK"]


@pytest.mark.parametrize("name", ["ModelInfer", "ModelStreamInfer"])
def test_large_requests_beyond_the_bytes_that_may_be_under_way_are_refused_and_leave_nothing_behind(
    running, channel, monkeypatch, name
):
    method = next(item for item in METHODS if item.name == name)
    engine, rows = running.server.engine, 2000
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 4]}
    large = {"model_name": "tiny", "inputs": [tensor], "raw_input_contents": [np.ones((rows, 4), np.float32).tobytes()]}
    headers = metadata(running, "infer")
    assert call(channel, method, message("ModelInferRequest", large), headers)[0] == "OK"
    monkeypatch.setattr(engine, "options", replace(engine.options, max_inflight_bytes=rows * 16 - 1))
    code, found = call(channel, method, message("ModelInferRequest", large), headers)
    assert code in ("UNAVAILABLE", "ERROR"), found
    assert "too many large requests" in (found if isinstance(found, str) else found.details())
    assert call(channel, method, infer_request(), headers)[0] == "OK"
    assert engine.inflight == 0


def test_every_request_is_counted_and_gets_a_line_in_the_log(running, channel):
    infer = next(item for item in METHODS if item.name == "ModelInfer")
    before = len(running.notes.lines)
    succeeded = running.server.serving.find("tiny").stats.succeeded
    headers = (*metadata(running, "infer"), ("x-request-id", "r-1"))
    assert call(channel, infer, infer_request(), headers)[0] == "OK"
    assert call(channel, infer, infer_request("nope"), headers)[0] == "NOT_FOUND"
    lines = running.notes.lines[before:]
    assert [(line[0].target, line[1], line[-1]) for line in lines] == [
        (infer.path.encode(), 200, b"r-1"),
        (infer.path.encode(), 404, b"r-1"),
    ]
    assert running.server.serving.find("tiny").stats.succeeded == succeeded + 1


def test_a_server_that_drains_takes_nothing_new(tmp_path):
    ended = Running(tmp_path)
    ended.close()
    with grpc.insecure_channel(f"127.0.0.1:{ended.port}") as found, pytest.raises(grpc.RpcError) as caught:
        found.unary_unary(f"/{SERVICE}/ServerLive")(b"", timeout=DEADLINE_S)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_drain_ends_an_idle_stream_after_its_answers_instead_of_waiting_for_the_client(tmp_path):
    server, done = Running(tmp_path), threading.Event()

    def requests():
        yield infer_request(request_id="a").SerializeToString()
        done.wait(DEADLINE_S)

    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as found:
        headers = metadata(server, "infer")
        stream = found.stream_stream(f"/{SERVICE}/ModelStreamInfer")(requests(), metadata=headers)
        first = message_class("ModelStreamInferResponse").FromString(next(stream))
        assert first.infer_response.id == "a"
        try:
            server.close()  # fails beyond DEADLINE_S, which is less than the drain's own limit
            with pytest.raises(grpc.RpcError) as caught:
                next(stream)
        finally:
            done.set()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(caught.value.trailing_metadata())["qsml-error-code"] == "overloaded"


def test_a_stream_that_asks_for_statuses_ends_with_that_of_its_first_error(running, channel):
    requests = [infer_request(name, name).SerializeToString() for name in ("tiny", "nope", "tiny")]
    headers = (*metadata(running, "infer"), ("triton_grpc_error", "true"))
    stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(iter(requests), metadata=headers, timeout=DEADLINE_S)
    assert message_class("ModelStreamInferResponse").FromString(next(stream)).infer_response.id == "tiny"
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_tls_files_encrypt_grpc_too(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(made, check=True, capture_output=True)
    found = Running(tmp_path / "server", tls_cert=str(cert), tls_key=str(key))
    trust = grpc.ssl_channel_credentials(cert.read_bytes())
    with grpc.secure_channel(f"localhost:{found.port}", trust) as secure:
        secure.unary_unary(f"/{SERVICE}/ServerLive")(b"", timeout=DEADLINE_S)
    found.close()


def test_workers_share_a_port_that_nobody_else_may_have():
    held = package.reserve_port("127.0.0.1", 0)
    port = held.getsockname()[1]
    with held, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(UnavailableError) as caught:
            package.reserve_port("127.0.0.1", port)
    assert caught.value.code == "serve.port_taken"


def test_without_the_package_one_error_names_the_command(monkeypatch):
    monkeypatch.setattr(package, "find_spec", lambda _name: None)
    with pytest.raises(UnavailableError) as caught:
        package.require_grpc()
    assert caught.value.code == "serve.grpc_missing"
    assert "pip install 'quickserveml-tui[grpc]'" in caught.value.hint
