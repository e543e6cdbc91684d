"""What is sent around and behind a request: it is neither taken for a part of it, nor kept, nor run."""

import contextlib
import json
import socket

import pytest
from server_process import eventually, infer_body, request, running

pytestmark = pytest.mark.xdist_group("server")

PATH = "/v2/models/tiny/infer"
GOOD = infer_body([[1, 2, 3, 4]])
CHUNKED = (
    f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nX-Request-Id: chunked\r\n\r\n".encode()
    + b"%x\r\n%b\r\n0\r\n" % (len(GOOD), GOOD)
)


@pytest.fixture(scope="module")
def logged(model_paths, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    with running([model_paths["tiny"]], folder / "log", access_log=str(folder / "access.log")) as server:
        server.access_log = folder / "access.log"
        yield server
    assert "Traceback" not in (folder / "log").read_text()


@pytest.mark.parametrize(
    "trailer", [b"Content-Encoding: gzip", b"Inference-Header-Content-Length: 3", b"Host: evil.example"]
)
def test_trailers_do_not_pass_for_headers(logged, trailer):
    with logged.connect() as connection:
        connection.send(CHUNKED + trailer + b"\r\n\r\n")
        reply = connection.reply()
    assert reply.status == 200, reply.body


@pytest.mark.parametrize("endless", [b"X-Y: z\r\n", b"X-Y: " + b"z" * 100_000], ids=["many", "one"])
def test_trailers_without_end_are_given_up(logged, endless):
    with logged.connect() as connection:
        connection.send(CHUNKED)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.send(endless * 100_000 if len(endless) < 100 else endless)
            connection.send(b"z" * 8_000_000)
        reply = connection.reply()
    assert reply.status == 400, reply.body


def test_what_follows_a_chunked_body_is_not_run_and_the_request_is_logged_once(logged):
    with logged.connect() as connection:
        connection.send(CHUNKED + b"\r\n" + request(PATH, GOOD, headers=["X-Request-Id: behind"]) * 3)
        reply = connection.reply()
        assert (reply.status, reply.headers["x-request-id"]) == (200, "chunked")
        assert connection.closed()
        assert connection.buffer == b""
    with logged.connect() as connection:
        connection.send(request(PATH, GOOD, headers=["X-Request-Id: last"]))
        assert connection.reply().status == 200
    lines = eventually(
        lambda: (text := logged.access_log.read_text()) and '"last"' in text and text.splitlines(), "it is logged"
    )
    found = [json.loads(line) for line in lines]
    mine = [line for line in found if line["request_id"] == "chunked"][-1]
    assert (mine["status"], mine["received"], mine["sent"]) == (200, len(GOOD), len(reply.body))
    assert not [line for line in found if line["request_id"] == "behind"]


def test_the_sender_of_a_long_chunked_body_sees_why_it_is_not_wanted(logged):
    with logged.connect() as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        connection.send(CHUNKED.partition(b"\r\n\r\n")[0].replace(PATH.encode(), b"/nowhere") + b"\r\n\r\n")
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for _ in range(200):
                connection.send(b"10000\r\n" + b"a" * 65536 + b"\r\n")
        assert connection.reply().status == 404
