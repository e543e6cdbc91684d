"""The HTTP client against servers that mean harm: each ends in one typed error, in bounded time and memory."""

from __future__ import annotations

import gzip
import threading

import pytest
from hostile import Hostile, answer

from quickserveml_tui.client.addresses import check_url, model_path, parse_model_url
from quickserveml_tui.client.http import HttpClient
from quickserveml_tui.core.errors import CancelledError, NotPermittedError, UnavailableError, UsageError
from quickserveml_tui.core.jobs import CancelToken

PATIENCE_S = 20.0


def ask(url: str, **options):
    with HttpClient(url, timeout_s=options.pop("timeout_s", 5.0), max_bytes=100_000, **options) as client:
        return client.get("/")


def endless_body(connection, _head):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")


def endless_without_length(connection, _head):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def endless_headers(connection, _head):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: " + b"x" * 8000 + b"\r\n")


def endless_early_hints(connection, _head):
    while True:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")


def declared_gigabyte(connection, _head):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")


def declared_beyond_numbers(connection, _head):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 18 + b"\r\n\r\n")


def bomb(connection, _head):
    connection.sendall(answer(gzip.compress(bytes(10_000_000)), "Content-Encoding: gzip"))


def broken_gzip(connection, _head):
    connection.sendall(answer(b"not gzip", "Content-Encoding: gzip"))


def no_http(connection, _head):
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    return False


def cut_off(connection, _head):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")
    return False


def closes(_connection, _head):
    return False


def redirect_to_itself(connection, head):
    connection.sendall(answer(b"", "Location: /", status="302 Found"))


@pytest.mark.parametrize(
    "serve",
    [
        endless_body, endless_without_length, endless_headers, declared_gigabyte, declared_beyond_numbers, bomb,
        broken_gzip, no_http, cut_off, closes, redirect_to_itself,
    ],
)  # fmt: skip
def test_an_answer_that_makes_no_sense_is_an_error_of_its_own(serve):
    with Hostile(serve) as server, pytest.raises(UnavailableError) as caught:
        ask(server.url)
    assert caught.value.code == "server.answer"
    assert caught.value.hint


def test_no_redirect_is_followed_so_the_key_stays():
    with Hostile(lambda connection, _head: connection.sendall(answer(b"{}"))) as other:

        def elsewhere(connection, _head):
            connection.sendall(answer(b"", f"Location: {other.url}/", status="307 Moved"))

        with Hostile(elsewhere) as server, pytest.raises(UnavailableError, match="elsewhere") as caught:
            ask(server.url, key="qsml_secret")
        assert not other.requests
        assert caught.value.detail == f"{other.url}/"


def drip_body(connection, _head):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    _drip(connection)


def drip_headers(connection, _head):
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    _drip(connection)


def _drip(connection):
    pause = threading.Event()
    while True:
        connection.sendall(b"x")
        pause.wait(0.05)


def says_nothing(_connection, _head):
    threading.Event().wait(PATIENCE_S)


@pytest.mark.parametrize("serve", [drip_body, drip_headers, says_nothing, endless_early_hints])
def test_the_time_limit_holds_for_the_whole_answer_however_it_trickles(serve):
    with Hostile(serve) as server, pytest.raises(UnavailableError) as caught:
        ask(server.url, timeout_s=0.4)
    assert caught.value.code == "server.unreachable"


def test_a_request_is_cancelled_while_the_server_says_nothing():
    token = CancelToken()

    def serve(_connection, _head):
        token.cancel()
        says_nothing(None, None)

    with (
        Hostile(serve) as server,
        HttpClient(server.url, timeout_s=PATIENCE_S) as client,
        pytest.raises(CancelledError),
    ):
        client.get("/", cancel=token)


def test_a_client_goes_on_after_a_failure():
    turns = iter([closes, lambda connection, _head: connection.sendall(answer(b'{"ok":1}'))])

    def serve(connection, head):
        return next(turns)(connection, head)

    with Hostile(serve) as server, HttpClient(server.url) as client:
        with pytest.raises(UnavailableError):
            client.get("/")
        assert client.get("/").body == b'{"ok":1}'


def test_nobody_listening_is_unreachable():
    with Hostile(closes) as server:
        pass
    with pytest.raises(UnavailableError) as caught:
        ask(server.url)
    assert (caught.value.code, int(caught.value.exit_code)) == ("server.unreachable", 4)


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_refusal_says_what_the_server_said(status):
    said = answer(b'{"detail":"the key \\u001b[31mexpired"}', status=status, kind="application/problem+json")
    with (
        Hostile(lambda connection, _head: connection.sendall(said)) as server,
        pytest.raises(NotPermittedError) as caught,
    ):
        ask(server.url, key="k")
    assert (caught.value.code, caught.value.detail) == ("server.refused", "the key [31mexpired")


def test_the_key_goes_as_a_bearer_and_the_environment_is_left_out(monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with Hostile(lambda connection, _head: connection.sendall(answer(b"{}"))) as server:
        ask(server.url)
        ask(server.url, key="qsml_a_b_c")
    assert b"authorization" not in server.requests[0].lower()
    assert b"authorization: bearer qsml_a_b_c" in server.requests[1].lower()


@pytest.mark.parametrize("key", ["a b", "a\r\nX-Evil: 1", "é", "x" * 2000])
def test_a_key_that_could_be_a_header_of_its_own_is_refused(key):
    with pytest.raises(UsageError) as caught:
        HttpClient("http://127.0.0.1:1", key=key)
    assert caught.value.code == "usage.key"
    assert key not in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "localhost:8000", "ftp://host", "file:///etc/passwd", "http://", "http:///path", "http://user@host",
        "http://user:secret@host", "http://host:99999", "http://host:0", "http://host:x", "http://[::1", "http://a b",
        "http://host/\n", "http://host?key=1", "http://host#x", "http://host/\x1b[31m", "javascript:alert(1)",
        "http://host\\@evil", "http://" + "x" * 3000,
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_server_is_refused(url):
    with pytest.raises(UsageError) as caught:
        check_url(url)
    assert caught.value.code == "usage.url"
    assert caught.value.hint
    assert "secret" not in caught.value.message + caught.value.hint


def test_addresses_of_models_are_read_as_the_protocol_writes_them():
    assert parse_model_url("http://h:1/v2/models/a%2Fb/versions/3/infer") == ("http://h:1", "a/b", "3")
    assert parse_model_url("https://h/base/v2/models/m/") == ("https://h/base", "m", "")
    assert parse_model_url("http://h:1/") == parse_model_url("http://h:1/v2/models/") == ("http://h:1", "", "")
    assert model_path("a/b?", "1 2") == "/v2/models/a%2Fb%3F/versions/1%202"
    for wrong in ("http://h/v2/models/m/versions", "http://h/v2/models/m/stats", "http://h/v2/models//x"):
        with pytest.raises(UsageError):
            parse_model_url(wrong)
