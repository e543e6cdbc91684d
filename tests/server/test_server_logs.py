"""Logs: one line each, nothing from outside unescaped, never a key; and TLS files, with what is wrong with them."""

from __future__ import annotations

import io
import json
import logging
import os
import ssl
import subprocess

import pytest

from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.key_text import new_key
from quickserveml_tui.server.access_log import AccessLogFile, open_access_log
from quickserveml_tui.server.context import Asked
from quickserveml_tui.server.logs import LOGGERS, REQUEST_ID, set_up_logging
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.server.tls import tls_context

FIELDS = ["time", "method", "path", "status", "ms", "received", "sent", "key", "request_id", "trace", "worker"]


def note(log, path=b"/v2", name="r1", **changes):
    method = changes.get("method", b"GET")
    asked = Asked(method, path, "abc", "0af7651916cd43dd8448eb211c80319c", named=True)
    log.note(asked, 200, 1_500_000, 1, 2, name.encode())


def lines(path):
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


@pytest.fixture
def logging_as_it_was():
    kept = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in map(logging.getLogger, LOGGERS)]
    yield
    for logger, handlers, level, propagate in kept:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_a_line_says_what_was_asked_and_answered(tmp_path):
    log = AccessLogFile(str(tmp_path / "access.log"), worker=3)
    note(log, b"/v2/models/tiny?secret=1")
    log.close()
    (line,) = lines(tmp_path / "access.log")
    assert list(line) == FIELDS
    assert (line["path"], line["ms"], line["worker"], line["key"]) == ("/v2/models/tiny", 1.5, 3, "abc")
    assert (tmp_path / "access.log").stat().st_mode & 0o007 == 0


@pytest.mark.parametrize("form", ["json", "text"])
def test_hostile_paths_and_ids_stay_one_printable_line(tmp_path, form):
    path = tmp_path / "access.log"
    log = AccessLogFile(str(path), form=form)
    text = new_key()[2]
    for hostile in (
        b'/"},"x":"',
        b"/\x1b]52;c;aGk=\x07\r\n/fake",
        b"/\xff\xfe\xe2\x80\xae",
        b"/" + text.encode(),
        b"/a" * 9999,
        b"/\x7f",
    ):
        note(log, hostile)
    note(log, name='a"b\\c')
    note(log, name=text)
    log.close()
    data = path.read_text("ascii")
    assert data.count("\n") == 8
    assert all(char.isprintable() or char == "\n" for char in data)
    assert text.split("_")[2] not in data
    assert max(map(len, data.splitlines())) < 8000
    if form == "json":
        assert lines(path)[6]["request_id"] == 'a"b\\c'


def test_a_full_buffer_drops_lines_and_says_how_many(tmp_path):
    told = []
    log = AccessLogFile(str(tmp_path / "access.log"), on_dropped=told.append, max_waiting=5)
    for _ in range(12):
        note(log)
    assert log.dropped == 7
    log.flush()
    note(log)
    log.close()
    found = lines(tmp_path / "access.log")
    assert [line.get("dropped") for line in found] == [None] * 5 + [7, None]
    assert told == [7]


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path):
    path = tmp_path / "access.log"
    log = AccessLogFile(str(path))
    note(log)
    log.flush()
    path.rename(tmp_path / "access.log.1")
    note(log)
    log.flush()
    path.unlink()
    note(log)
    log.close()
    assert len(lines(tmp_path / "access.log.1")) == len(lines(path)) == 1


def test_a_disk_that_takes_no_more_costs_lines_and_nothing_else(tmp_path, monkeypatch, caplog):
    log = AccessLogFile(str(tmp_path / "access.log"))

    def full(*_):
        raise OSError(28, "No space left on device")

    real = os.write
    monkeypatch.setattr(os, "write", full)
    note(log)
    log.flush()
    monkeypatch.setattr(os, "write", real)
    note(log)
    log.close()
    found = lines(tmp_path / "access.log")
    assert [line.get("dropped") for line in found] == [None, 1]
    assert "No space left" in caplog.text


@pytest.mark.parametrize("kind", ["folder", "missing", "fifo"])
def test_a_path_that_cannot_be_written_is_refused_at_the_start(tmp_path, kind):
    path = tmp_path if kind == "folder" else tmp_path / "no" / "x" if kind == "missing" else tmp_path / "fifo"
    if kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(QuickServeError) as error:
        open_access_log(ServeOptions(access_log=str(path)))
    assert error.value.code == "serve.access_log"
    assert open_access_log(ServeOptions()) is None


@pytest.mark.parametrize("form", ["json", "text"])
def test_log_lines_are_one_line_each_and_hold_no_key(logging_as_it_was, form):
    logging.getLogger("uvicorn").handlers = []  # pytest's own, on loggers that do not propagate, fails on bad formats
    stream = io.StringIO()
    set_up_logging("info", form, worker=2, stream=stream)
    set_up_logging("info", form, worker=2, stream=stream)
    text = new_key()[2]
    token = REQUEST_ID.set("req-7")
    try:
        raise ValueError(f"bad\n{text}\x1b[31m")
    except ValueError:
        logging.getLogger("quickserveml_tui.server.x").exception("Failed: %s", f"{text}\r\nfake\x1b]0;x\x07")
    finally:
        REQUEST_ID.reset(token)
    logging.getLogger("uvicorn.error").warning("not %d", "a number")
    logging.getLogger("uvicorn.error").debug("unseen")
    said = stream.getvalue()
    assert said.count("\n") == 2
    assert all(char.isprintable() or char == "\n" for char in said)
    assert text.split("_")[2] not in said
    assert text.split("_")[1] in said
    if form == "json":
        first, second = map(json.loads, said.splitlines())
        assert (first["level"], first["error"], first["request_id"], first["worker"]) == (
            "error",
            "ValueError",
            "req-7",
            2,
        )
        assert first["logger"] == "quickserveml_tui.server.x"
        assert "Traceback" in first["traceback"]
        assert second["message"] == "not %d"


# ---- TLS


@pytest.fixture(scope="module")
def pems(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")

    def make(name, *more):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", folder / f"{name}.key",
             "-out", folder / f"{name}.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", *more],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip

    make("one", "-days", "365")
    make("two", "-days", "3")
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", folder / "one.key", "-out", folder / "locked.key", "-passout", "pass:x"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    (folder / "text.pem").write_text("hello")
    return folder


def options(pems, cert, key):
    return ServeOptions(tls_cert=str(pems / cert), tls_key=str(pems / key))


def test_certificate_and_key_give_a_context_for_http_1_over_tls_1_2_and_later(pems):
    assert tls_context(ServeOptions()) is None
    server = tls_context(options(pems, "one.pem", "one.key"))
    assert server.minimum_version is ssl.TLSVersion.TLSv1_2
    client = ssl.create_default_context(cafile=pems / "one.pem")
    client.set_alpn_protocols(["h2", "http/1.1"])
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    for _ in range(10):
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    assert not waiting
    assert ends[0].selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(
    ("cert", "key", "code"),
    [
        ("one.pem", "two.key", "tls.mismatch"),
        ("none.pem", "one.key", "tls.missing"),
        ("one.pem", "none.key", "tls.missing"),
        ("one.pem", "locked.key", "tls.encrypted"),
        ("text.pem", "one.key", "tls.unreadable"),
        ("one.pem", "text.pem", "tls.unreadable"),
        (".", "one.key", "tls.unreadable"),
    ],
)
def test_files_that_cannot_be_used_are_told_apart(pems, cert, key, code):
    with pytest.raises(QuickServeError) as error:
        tls_context(options(pems, cert, key))
    assert error.value.code == code
    assert error.value.hint
    assert str(pems) not in error.value.message


def test_a_certificate_near_its_end_is_served_with_a_warning(pems, caplog, monkeypatch):
    assert tls_context(options(pems, "two.pem", "two.key"))
    assert "expires on" in caplog.text
    caplog.clear()
    import time

    now = time.time()
    monkeypatch.setattr("quickserveml_tui.server.tls.time.time", lambda: now + 9 * 86_400)
    assert tls_context(options(pems, "two.pem", "two.key"))
    assert "expired on" in caplog.text


def test_by_itself_a_log_is_text_on_a_terminal_and_json_elsewhere(tmp_path, logging_as_it_was):
    shown, terminal = os.openpty()
    file = tmp_path / "access.log"
    try:
        with open(terminal, "w", closefd=False) as stream:
            set_up_logging("info", ServeOptions().log_format, stream=stream)
            logging.getLogger(LOGGERS[0]).info("up")
        assert os.read(shown, 4096).decode().split()[1:] == ["info", "quickserveml_tui", "up"]
        for path in (os.ttyname(terminal), str(file)):
            log = open_access_log(ServeOptions(access_log=path))
            note(log)
            log.close()
        assert b'"GET /v2" 200 ' in os.read(shown, 4096)
    finally:
        os.close(shown)
        os.close(terminal)
    assert lines(file)[0]["status"] == 200
    elsewhere = io.StringIO()
    set_up_logging("info", ServeOptions().log_format, stream=elsewhere)
    logging.getLogger(LOGGERS[0]).info("up")
    assert json.loads(elsewhere.getvalue())["message"] == "up"
