"""`quickserveml serve` itself: a client of Triton infers against it, and it ends cleanly."""

import json
import signal
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import tritonclient.http as triton
from server_process import DEADLINE_S, ENVIRONMENT, RawConnection, request

from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.server.run import curl_for

pytestmark = pytest.mark.xdist_group("server")


def command(home, *arguments):
    return [sys.executable, "-m", "quickserveml_tui", "serve", *map(str, arguments), "--home", str(home), "--json"]


def test_the_command_serves_a_file_to_tritons_client(model_paths, tmp_path):
    process = subprocess.Popen(
        command(tmp_path / "home", model_paths["tiny"], "--port", 0),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    try:
        started = json.loads(process.stdout.readline())
        x = np.random.default_rng(3).standard_normal((5, 4)).astype(np.float32)
        tensor = triton.InferInput("x", [5, 4], "FP32")
        tensor.set_data_from_numpy(x)
        with triton.InferenceServerClient(started["url"].removeprefix("http://")) as client:
            found = client.infer("tiny", [tensor]).as_numpy("y")
        session = onnxruntime.InferenceSession(model_paths["tiny"], providers=["CPUExecutionProvider"])
        assert np.array_equal(found, session.run(None, {"x": x})[0])
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, errors
        assert b"Traceback" not in errors
    finally:
        process.kill()
        process.communicate()


def test_the_command_refuses_other_addresses_with_its_exit_code(model_paths, tmp_path):
    done = subprocess.run(
        command(tmp_path / "home", model_paths["tiny"], "--host", "0.0.0.0"),
        capture_output=True,
        env=ENVIRONMENT,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 5
    assert json.loads(done.stdout)["error"]["code"] == "serve.not_loopback"


def test_the_example_command_trusts_the_certificate_and_names_the_key_that_the_server_wants():
    assert curl_for(ServeOptions()) == "curl"
    wanted = ServeOptions(auth="keys", tls_cert="my certs/c.pem", tls_key="k.pem")
    assert curl_for(wanted) == """curl --cacert 'my certs/c.pem' -H "Authorization: Bearer $QSML_API_KEY\""""


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_ended_at_once_has_printed_one_document(model_paths, tmp_path, first):
    process = subprocess.Popen(
        command(tmp_path / "home", model_paths["tiny"], "--port", 0),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    try:
        document = process.stdout.readline()
        port = int(json.loads(document)["url"].rpartition(":")[2])
        with RawConnection(port) as connection:
            connection.send(request("/v2/models/tiny/infer", b"{", headers=["Expect: 100-continue"])[:-1])
            assert connection.reply().status == 100  # the request is under way for as long as its body is awaited
            process.send_signal(first)
            while b"Told to end" not in process.stderr.readline():
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 130
        assert output == b""
        assert b"The server was ended at once" in errors
    finally:
        process.kill()
        process.communicate()
