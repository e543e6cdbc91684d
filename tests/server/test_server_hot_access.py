"""What the hot path owes beyond an answer: keys that end count at once, every request is logged, traces are kept."""

from __future__ import annotations

import json
import time

import pytest
from access_homes import key_service
from server_process import eventually, infer_body, request, running

from quickserveml_tui.core.access import RateLimit

pytestmark = pytest.mark.xdist_group("server")

HOT = "/v2/models/tiny/infer"
COLD = f"{HOT}?cold"
GOOD = infer_body([[1, 2, 3, 4]])
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def guarded(model_paths, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hot")
    keys = key_service(folder / "home", time.time)
    made = keys.create("infer", limit=RateLimit(1000, 1000, 0)).text
    options = {"auth": "keys", "home": str(folder / "home"), "access_log": str(folder / "access.log")}
    with running([model_paths["tiny"]], folder / "log", **options) as server:
        server.keys, server.text, server.access_log = keys, made, folder / "access.log"
        yield server
    assert "Traceback" not in (folder / "log").read_text()


def logged(server, name):
    def found():
        lines = map(json.loads, server.access_log.read_text().splitlines())
        return [line for line in lines if line["request_id"] == name]

    return eventually(found, f"a line for {name}")


def test_a_key_that_ends_while_its_connection_lives_is_refused_from_then_on(guarded):
    text = guarded.keys.create("short", expires_in_s=3).text
    with guarded.connect() as connection:

        def status():
            connection.send(request(HOT, GOOD, headers=[f"X-API-Key: {text}"]))
            return connection.reply().status

        assert eventually(lambda: status() == 200, "the new key is known")
        assert eventually(lambda: status() == 401, "the key that has ended is refused")


@pytest.mark.parametrize("path", [HOT, COLD], ids=["hot", "cold"])
def test_every_request_has_one_line_with_its_name_and_its_trace(guarded, path):
    name = "hot-1" if path == HOT else "cold-1"
    trace = f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01"
    with guarded.connect() as connection:
        connection.send(request(path, GOOD, headers=[f"X-API-Key: {guarded.text}", f"X-Request-Id: {name}", trace]))
        reply = connection.reply()
    assert reply.status == 200
    assert reply.headers["x-request-id"] == name
    assert reply.headers["ratelimit"].startswith('"rate";r=')
    (line,) = logged(guarded, name)
    assert (line["trace"], line["status"], line["path"]) == (TRACE, 200, HOT)
    assert (line["received"], line["sent"]) == (len(GOOD), len(reply.body))
    assert line["key"] == guarded.text.split("_")[1]


def test_refused_requests_are_logged_too_under_the_name_that_their_answer_has(guarded):
    for path in (HOT, COLD):
        with guarded.connect() as connection:
            connection.send(request(path, GOOD))
            reply = connection.reply()
        assert reply.status == 401
        (line,) = logged(guarded, reply.headers["x-request-id"])
        assert line["status"] == 401


def test_what_is_left_of_a_limit_goes_down_on_a_connection_that_lives(guarded):
    text = guarded.keys.create("counted", limit=RateLimit(0.001, 3, 0)).text
    with guarded.connect() as connection:

        def ask():
            connection.send(request(HOT, GOOD, headers=[f"X-API-Key: {text}"]))
            return connection.reply()

        first = eventually(lambda: (reply := ask()).status == 200 and reply, "the new key is known")
        rest = [ask().status for _ in range(3)]
    assert first.headers["ratelimit"].startswith('"rate";r=2;')
    assert rest == [200, 200, 429]
