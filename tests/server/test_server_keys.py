"""A server that asks for keys, from outside: the hot path and the slow one hold the same people off."""

import contextlib
import json
import time

import pytest
from access_homes import key_service
from server_process import eventually, infer_body, request, running

from quickserveml_tui.core.access import Permission, RateLimit

pytestmark = pytest.mark.xdist_group("server")

HOT = "/v2/models/tiny/infer"
GOOD = infer_body([[1, 2, 3, 4]])
PATHS = {"hot": HOT, "cold": f"{HOT}?cold"}


@pytest.fixture(scope="module")
def guarded(model_paths, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    keys = key_service(folder / "home", time.time)
    texts = {
        "infer": keys.create("infer").text,
        "read": keys.create("read", scopes=[Permission.READ]).text,
        "other": keys.create("other", models=["other*"]).text,
        "slow": keys.create("slow", limit=RateLimit(0.001, 2, 100)).text,
        "gone": keys.create("gone").text,
    }
    keys.revoke("gone")
    options = {"auth": "keys", "home": str(folder / "home"), "access_log": str(folder / "access.log")}
    with running([model_paths["tiny"]], folder / "log", **options) as server:
        server.keys, server.texts, server.access_log = keys, texts, folder / "access.log"
        yield server
    assert "Traceback" not in (folder / "log").read_text()
    written = (folder / "log").read_text() + (folder / "access.log").read_text()
    assert not any(text.split("_")[2] in written for text in texts.values())


def ask(server, path, text=None, *headers):
    lines = [f"Authorization: Bearer {text}"] if text else []
    with server.connect() as connection:
        connection.send(request(path, GOOD, headers=[*lines, *headers]))
        return connection.reply()


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize(
    ("caller", "status"), [(None, 401), ("infer", 200), ("read", 403), ("other", 404), ("gone", 401)]
)
def test_both_paths_let_in_and_hold_off_the_same(guarded, path, caller, status):
    reply = ask(guarded, path, guarded.texts[caller] if caller else None)
    assert reply.status == status, reply.body
    if status == 401:
        assert reply.headers["www-authenticate"] == "Bearer"
    if status == 404:
        unknown = ask(guarded, path.replace("tiny", "tinx"), guarded.texts[caller])
        assert unknown.body == reply.body.replace(b"tiny", b"tinx")


def test_health_needs_no_key_even_beside_a_wrong_one(guarded):
    for headers in ([], ["X-API-Key: qsml_nonsense"]):
        with guarded.connect() as connection:
            connection.send(request("/v2/health/ready", method="GET", headers=headers))
            assert connection.reply().status == 200


@pytest.mark.parametrize("spoof", ["X-Forwarded-For: 10.0.0.9", "Forwarded: for=10.0.0.9", "X-Real-IP: 10.0.0.9"])
def test_a_limit_holds_whatever_a_client_says_of_its_address(guarded, spoof):
    replies = [ask(guarded, HOT, guarded.texts["slow"], spoof) for _ in range(3)]
    refused = replies[-1]
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["ratelimit-policy"].startswith('"rate";q=2;')
    assert refused.headers["ratelimit"].startswith('"rate";r=0;')
    assert "error" in refused.json()
    assert ask(guarded, HOT, guarded.texts["infer"]).status == 200


def test_a_key_in_the_query_is_refused_and_never_logged(guarded):
    reply = ask(guarded, f"{HOT}?api_key={guarded.texts['infer']}")
    assert reply.status == 400
    assert guarded.texts["infer"].encode() not in reply.body


def test_new_and_revoked_keys_count_within_a_moment_on_a_connection_that_is_open(guarded):
    made = guarded.keys.create("later").text
    assert eventually(lambda: ask(guarded, HOT, made).status == 200, "the new key is known")
    with guarded.connect() as connection:

        def status():
            connection.send(request(HOT, GOOD, headers=[f"X-API-Key: {made}"]))
            return connection.reply().status

        assert status() == 200
        guarded.keys.revoke("later")
        assert eventually(lambda: status() == 401, "the revoked key is refused")


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_guesses_at_keys_have_a_limit_on_both_paths_and_lock_nobody_out(guarded, path):
    with guarded.connect() as connection:

        def guess(number):
            connection.send(request(path, GOOD, headers=[f"X-API-Key: guess-{number}"]))
            return connection.reply()

        first = next(reply for reply in map(guess, range(5000)) if reply.status != 401)
    assert first.status == 429
    assert first.headers["retry-after"]
    assert "keys that do not hold" in first.json()["error"]
    assert ask(guarded, path, guarded.texts["infer"]).status == 200


def test_every_request_is_in_the_access_log_with_the_id_of_its_key(guarded):
    with guarded.connect() as connection:
        connection.send(request(HOT, GOOD, headers=[f"X-API-Key: {guarded.texts['infer']}", "X-Request-Id: find-me"]))
        assert connection.reply().status == 200
    found = eventually(
        lambda: [line for line in guarded.access_log.read_text().splitlines() if "find-me" in line], "it is logged"
    )
    line = json.loads(found[0])
    assert (line["status"], line["path"], line["key"]) == (200, HOT, guarded.texts["infer"].split("_")[1])


def test_limits_hold_for_two_workers_together_and_one_connection_may_use_them_whole(model_paths, tmp_path):
    keys = key_service(tmp_path / "home", time.time)
    day = keys.create("day", limit=RateLimit(0, 0, 7)).text
    rate = keys.create("rate", limit=RateLimit(0.001, 20)).text
    options = {"auth": "keys", "home": str(tmp_path / "home"), "workers": 2}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running([model_paths["tiny"]], tmp_path / "log", **options))
        connections = [stack.enter_context(server.connect()) for _ in range(16)]

        def status(connection, text):
            connection.send(request(HOT, GOOD, headers=[f"X-API-Key: {text}"]))
            return connection.reply().status

        assert [status(connections[0], rate) for _ in range(21)] == [200] * 20 + [429]
        assert {status(connection, rate) for connection in connections} == {429}
        assert [status(connection, day) for connection in connections] == [200] * 7 + [429] * 9
    written = (tmp_path / "log").read_text()
    assert "Traceback" not in written
