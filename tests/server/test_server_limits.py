"""Limits hold on both paths, before anything is read or kept."""

import json

import httpx
import pytest
from server_process import infer_body, request, running

from quickserveml_tui.core.errors import NotPermittedError, UsageError
from quickserveml_tui.server.options import ServeOptions

pytestmark = pytest.mark.xdist_group("server")

PATH = "/v2/models/tiny/infer"
GOOD = infer_body([[1, 2, 3, 4]])


def ask(server, data):
    with server.connect() as connection:
        connection.send(data)
        reply = connection.reply()
        if reply.status >= 400:
            assert "Traceback" not in reply.body.decode()
        return reply


@pytest.mark.parametrize("path", [PATH, "/v2/models/tiny/infer?cold", "/predict", "/nowhere"])
def test_a_body_over_the_limit_is_refused_before_it_is_read(strict_server, path):
    with strict_server.connect() as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
        connection.send(head.encode())
        reply = connection.reply()
        assert reply.status == 413
        assert reply.headers["connection"] == "close"


def test_the_sender_of_a_large_body_sees_the_refusal(strict_server):
    with strict_server.connect() as connection:
        connection.send(request(PATH, bytes(30_000_000)))  # a reset would break this off
        assert connection.reply().status == 413
    reply = httpx.post(f"{strict_server.url}{PATH}", content=bytes(30_000_000))
    assert reply.status_code == 413
    assert reply.headers["content-type"] == "application/json"
    reply = httpx.post(f"{strict_server.url}/predict", content=bytes(30_000_000))
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == "http.too_large"


def test_a_chunked_body_over_the_limit_is_refused(strict_server):
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    reply = ask(strict_server, head + b"400\r\n" + bytes(1024) + b"\r\n" + (b"1000\r\n" + bytes(4096) + b"\r\n") * 2)
    assert reply.status == 413


@pytest.mark.parametrize(
    "headers",
    [
        ["A: b"] * 10_000,
        ["A: b"] * 101,
        ["A: " + "x" * 70_000],
        ["A" * 70_000 + ": x"],
    ],
)
def test_too_many_or_too_large_headers_are_431(server, headers):
    assert ask(server, request(PATH, GOOD, headers=headers)).status == 431


def test_a_request_line_without_end_is_431(server):
    assert ask(server, b"GET /" + b"a" * 100_000).status == 431


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: localhost\n\nGET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 505),
        (b"\r\n\r\n\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
    ],
)
def test_malformed_requests_are_refused_and_closed(server, data, status):
    with server.connect() as connection:
        connection.send(data)
        reply = connection.reply()
        assert reply.status == status, reply.body
        assert reply.headers["connection"] == "close"
        assert connection.closed()


METHODS = [("POST", PATH, GOOD), ("GET", "/health", b""), ("DELETE", "/", b""), ("OPTIONS", PATH, b"")]


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "localhost@evil", "10.0.0.1:80", "[::2]", "", "a b"]
)
@pytest.mark.parametrize(("method", "path", "body"), METHODS)
def test_foreign_hosts_are_refused_on_every_method(server, method, path, body, host):
    reply = ask(server, request(path, body, method=method, host=host))
    assert reply.status in (400, 403)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9", "127.0.0.1:8000", "127.1.2.3", "[::1]", "[::1]:8000", "localhost."]
)
def test_names_of_this_machine_are_taken(server, host):
    assert ask(server, request(PATH, GOOD, host=host)).status == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "https://localhost.evil", "file://", "x"]
)
@pytest.mark.parametrize(("method", "path", "body"), METHODS)
def test_pages_of_other_sites_are_refused_on_every_method(server, method, path, body, origin):
    reply = ask(server, request(path, body, method=method, headers=[f"Origin: {origin}"]))
    assert reply.status == 403


def test_pages_of_this_server_are_taken(server):
    host = f"127.0.0.1:{server.port}"
    assert ask(server, request(PATH, GOOD, host=host, headers=[f"Origin: http://{host}"])).status == 200


@pytest.mark.parametrize(
    "start",
    [
        b"POST /v2/mod",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
        request(PATH, GOOD)[:-3],
        request("/v2/repository/index", b"{ }")[:-1],
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab".encode(),
    ],
)
def test_a_request_that_never_ends_is_given_up(strict_server, start):
    with strict_server.connect() as connection:
        connection.send(start)
        reply = connection.reply()
        assert reply.status == 408
        assert connection.closed()


def test_bytes_that_trickle_in_do_not_extend_the_time(strict_server):
    import contextlib

    with strict_server.connect() as connection:
        connection.socket.settimeout(0.1)
        data = request(PATH, GOOD) + b" " * 400
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < len(data):
                connection.send(data[sent : sent + 1])
                sent += 1
                with contextlib.suppress(TimeoutError):
                    connection._fill()
                if b"408" in connection.buffer:
                    return
        raise AssertionError(f"{sent} bytes were waited for")


def test_an_idle_connection_is_closed(strict_server):
    with strict_server.connect() as connection:
        connection.send(request(PATH, GOOD))
        assert connection.reply().status == 200
        assert connection.closed()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org", ""])
def test_only_loopback_addresses_are_listened_on(host):
    with pytest.raises(NotPermittedError, match="without authentication") as caught:
        ServeOptions(host=host).validate()
    assert "API keys" in caught.value.hint


def test_options_out_of_range_are_usage_errors():
    for options in (ServeOptions(port=65536), ServeOptions(queue_limit=0), ServeOptions(loop="trio")):
        with pytest.raises(UsageError):
            options.validate()


def test_a_malformed_chunk_is_an_error_in_the_form_of_its_path(strict_server):
    for path, key in (("/v2/models/tiny/infer", "error"), ("/predict", "detail")):
        with strict_server.connect() as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.send(head.encode() + b"zz\r\nabc\r\n0\r\n\r\n")
            reply = connection.reply()
            assert (reply.status, reply.json()[key]) == (400, "The chunked body is malformed.")
            assert connection.closed()


def test_a_slow_reader_gets_the_whole_of_a_last_answer(model_paths, tmp_path):
    count = 5_000_000
    tensor = {"name": "n", "shape": [1], "datatype": "INT64", "data": [count]}
    body = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    options = {"keep_alive_s": 1}
    with running([model_paths["zeros"]], tmp_path / "log", **options) as server, server.connect() as connection:
        connection.send(request("/v2/models/zeros/infer", body, headers=["Connection: close"]))
        got = 0
        for _ in range(3):  # between two reads an idle connection comes to its end, after two seconds
            with server.connect() as idle:
                idle.send(request("/health", method="GET"))
                assert idle.reply().status == 200
                assert idle.closed()
            got += len(connection.socket.recv(2_000_000))
        while data := connection.socket.recv(1_000_000):
            got += len(data)
    assert got > 4 * count
