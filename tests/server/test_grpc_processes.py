"""One server by its command, two workers on one gRPC port, TLS: who answers, compression, new certificates, the end."""

from __future__ import annotations

import contextlib
import queue
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import numpy as np
import onnxruntime
import psutil
import pytest
import tritonclient.grpc as triton
from server_process import DEADLINE_S, eventually, infer_body, running

from quickserveml_tui.wire.grpc_messages import message, message_class
from quickserveml_tui.wire.grpc_tables import SERVICE

pytestmark = [
    pytest.mark.xdist_group("matrix"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]

INFER = f"/{SERVICE}/ModelInfer"
STREAM = f"/{SERVICE}/ModelStreamInfer"
LIVE = f"/{SERVICE}/ServerLive"


def make_certificate(folder, name):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "365",
         "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem", "-subj", f"/CN={name}",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pems(tmp_path_factory):
    """Two certificates, `both.pem` to trust either, and `now.pem` with `now.key`, which the server reads: the first."""
    folder = tmp_path_factory.mktemp("pems")
    for name in ("first", "second"):
        make_certificate(folder, name)
    (folder / "both.pem").write_bytes(b"".join((folder / f"{name}.pem").read_bytes() for name in ("first", "second")))
    put(folder, "first")
    return folder


def put(pems, name, kinds=("pem", "key")):
    for kind in kinds:
        shutil.copy(pems / f"{name}.{kind}", pems / f"now.{kind}")
        (pems / f"now.{kind}").chmod(0o600)


@pytest.fixture(scope="module")
def server(model_paths, pems, tmp_path_factory):
    files = {"tls_cert": str(pems / "now.pem"), "tls_key": str(pems / "now.key")}
    log = tmp_path_factory.mktemp("grpc") / "log"
    with running(
        [model_paths["tiny"], model_paths["slow"]], log, workers=2, grpc_port=0, drain_delay_s=0.5, **files
    ) as found:
        found.grpc_port = int(re.search(r"gRPC\s+\S+:(\d+)", found.announcement)[1])
        yield found
    assert "Traceback" not in log.read_text()


def connect(server, pems, *, port=0, name="both"):
    """A channel with a connection of its own."""
    trust = grpc.ssl_channel_credentials((pems / f"{name}.pem").read_bytes())
    alone = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.secure_channel(f"localhost:{port or server.grpc_port}", trust, options=alone)


def ask(model="tiny", rows=1, row=(4,)):
    x = np.full((rows, *row), 0.5, np.float32)
    tensor = {"name": "x", "datatype": "FP32", "shape": list(x.shape)}
    document = {"model_name": model, "inputs": [tensor], "raw_input_contents": [x.tobytes()]}
    return message("ModelInferRequest", document).SerializeToString()


def expected(model_paths, x):
    session = onnxruntime.InferenceSession(model_paths["tiny"], providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]


def test_two_workers_on_one_port_both_answer(server, pems):
    workers = [
        item
        for item in psutil.Process(server.process.pid).children()
        if "quickserveml_tui.server.worker" in item.cmdline()
    ]
    assert len(workers) == 2
    channels = []

    def connected(worker):
        look = getattr(worker, "net_connections", None) or worker.connections  # the older name, before psutil 6
        found = look(kind="tcp")
        return any(item.status == psutil.CONN_ESTABLISHED and item.laddr.port == server.grpc_port for item in found)

    def both():
        channel = connect(server, pems)
        channels.append(channel)
        answer = channel.unary_unary(LIVE)(b"", timeout=DEADLINE_S)
        assert message_class("ServerLiveResponse").FromString(answer).live
        return all(connected(worker) for worker in workers)

    eventually(both, "connections of both workers")
    for channel in channels:  # over connections of either worker
        channel.unary_unary(INFER)(ask(), timeout=DEADLINE_S)
        channel.close()


def test_tritonclient_infers_over_tls(server, pems, model_paths):
    x = np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32)
    tensor = triton.InferInput("x", [3, 4], "FP32")
    tensor.set_data_from_numpy(x)
    trust = str(pems / "both.pem")
    with triton.InferenceServerClient(f"localhost:{server.grpc_port}", ssl=True, root_certificates=trust) as client:
        found = client.infer("tiny", [tensor]).as_numpy("y")
    assert np.array_equal(found, expected(model_paths, x))


@pytest.mark.parametrize("wanted", [True, False])
def test_each_answer_of_a_stream_is_marked_as_the_last_of_its_request_where_the_client_asks(server, pems, wanted):
    tensor = triton.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 4), np.float32))
    done = queue.Queue()
    trust = str(pems / "both.pem")
    with triton.InferenceServerClient(f"localhost:{server.grpc_port}", ssl=True, root_certificates=trust) as client:
        client.start_stream(lambda result, error: done.put((result, error)))
        for model in ("tiny", "nothing", "tiny"):
            client.async_stream_infer(model, [tensor], enable_empty_final_response=wanted)
        found = [done.get(timeout=DEADLINE_S) for _ in range(3)]
        client.stop_stream()
    assert [error is None for _, error in found] == [True, False, True]
    for result in (found[0][0], found[2][0]):
        response = result.get_response()
        assert result.as_numpy("y").shape == (1, 3)
        assert dict(response.parameters).keys() == ({"triton_final_response"} if wanted else set())
        assert not wanted or response.parameters["triton_final_response"].bool_param


def test_an_error_in_a_stream_is_marked_too(server, pems):
    asked = message("ModelInferRequest", {"model_name": "nothing", "id": "a"})
    asked.parameters["triton_enable_empty_final_response"].bool_param = True
    with connect(server, pems) as channel:
        (answer,) = channel.stream_stream(STREAM)(iter([asked.SerializeToString()]), timeout=DEADLINE_S)
    found = message_class("ModelStreamInferResponse").FromString(answer)
    assert "not served" in found.error_message
    assert found.infer_response.id == "a"
    assert found.infer_response.parameters["triton_final_response"].bool_param


def test_what_crosses_the_port_and_is_no_grpc_leaves_no_line_in_the_log(server, pems):
    before = server.log.read_text()
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello"):
        with socket.create_connection(("127.0.0.1", server.grpc_port), timeout=DEADLINE_S) as alien:
            alien.sendall(data)
            with contextlib.suppress(ConnectionResetError):
                while alien.recv(4096):
                    pass
    with connect(server, pems) as channel:
        channel.unary_unary(LIVE)(b"", timeout=DEADLINE_S)
    assert server.log.read_text() == before


class Counting:
    """Passes bytes on between clients and a server, and counts them."""

    def __init__(self, port):
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.sent = self.received = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        try:
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                threading.Thread(target=self._pass, args=(client, server, "sent"), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, "received"), daemon=True).start()
        except OSError:
            return  # closed

    def _pass(self, source, target, counter):
        try:
            while data := source.recv(65536):
                setattr(self, counter, getattr(self, counter) + len(data))
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            end.close()

    def close(self):
        self._listener.close()


@pytest.mark.parametrize("streams", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("packed", [grpc.Compression.Gzip, grpc.Compression.Deflate], ids=["gzip", "deflate"])
def test_requests_and_answers_cross_the_wire_compressed(server, pems, packed, streams):
    rows = 20_000
    request, size = ask(rows=rows), rows * 16
    wish = (("qsml-response-compression", packed.name.lower()),)
    crossed, answers = {}, []
    between = Counting(server.grpc_port)
    try:
        for compression, metadata in ((None, ()), (packed, ()), (None, wish)):
            sent, received = between.sent, between.received
            with connect(server, pems, port=between.port) as channel:
                how = {"compression": compression, "metadata": metadata, "timeout": DEADLINE_S}
                if streams:
                    answers += channel.stream_stream(STREAM)(iter([request]), **how)
                else:
                    answers.append(channel.unary_unary(INFER)(request, **how))
            crossed[compression, metadata] = between.sent - sent, between.received - received
    finally:
        between.close()
    assert len(answers) == 3
    assert answers[0] == answers[1] == answers[2]
    plain_sent, plain_received = crossed[None, ()]
    assert plain_sent > size
    assert plain_received > size / 2
    assert crossed[packed, ()][0] < plain_sent / 5
    assert crossed[packed, ()][1] > plain_received / 2
    assert crossed[None, wish][1] < plain_received / 5


def presented(port):
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=DEADLINE_S).strip()


def everywhere(server, pem):
    """Whether new connections get this certificate, whichever worker takes them."""
    return all(presented(port) == pem for port in (server.port, server.grpc_port) for _ in range(6))


def test_after_sighup_new_connections_get_new_certificates_and_broken_files_leave_the_old(server, pems):
    first, second = ((pems / f"{name}.pem").read_text().strip() for name in ("first", "second"))
    assert everywhere(server, first)
    with connect(server, pems) as kept:
        kept.unary_unary(INFER)(ask(), timeout=DEADLINE_S)
        put(pems, "second", ["pem"])  # and not the key: the two do not go together
        server.terminate(signal.SIGHUP)
        eventually(lambda: "is not replaced" in server.log.read_text(), "the error")
        assert everywhere(server, first)
        put(pems, "second")
        server.terminate(signal.SIGHUP)
        eventually(lambda: everywhere(server, second), "the new certificate")
        kept.unary_unary(INFER)(ask(), timeout=DEADLINE_S)  # connections that are open stay
    (line,) = [line for line in server.log.read_text().splitlines() if "ertificate is not replaced" in line]
    assert "The private key does not belong to the certificate. Name the two files" in line
    with connect(server, pems, name="second") as channel:
        channel.unary_unary(INFER)(ask(), timeout=DEADLINE_S)
    trust = ssl.create_default_context(cafile=pems / "second.pem")
    reply = httpx.post(f"{server.url}/v2/models/tiny/infer", content=infer_body([[1, 2, 3, 4]]), verify=trust)
    assert reply.status_code == 200


def test_a_stop_loses_no_call_that_is_under_way(server, pems):
    channels = [connect(server, pems) for _ in range(8)]
    told = threading.Event()
    answered = [0] * len(channels)

    def work(index):
        call, request = channels[index].unary_unary(INFER), ask("slow", row=(8, 512))
        try:
            while True:
                began_before = not told.is_set()
                call(request, timeout=DEADLINE_S)
                answered[index] += 1
        except grpc.RpcError as error:
            return began_before, error.code()

    with ThreadPoolExecutor(len(channels)) as pool:
        ends = [pool.submit(work, index) for index in range(len(channels))]
        eventually(lambda: all(count > 2 for count in answered) or any(end.done() for end in ends), "answers to all")
        told.set()
        server.terminate()
        found = [end.result() for end in ends]
    assert server.wait() == 0
    assert [began_before for began_before, _ in found] == [False] * len(channels)
    # Connections are told to end, then new ones are refused; a call that crosses the former is dropped before it runs.
    assert {code for _, code in found} <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    for channel in channels:
        channel.close()
