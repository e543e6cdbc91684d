"""Keys, limits, hosts and origins: what is refused, with what words, and what goes on working."""

from __future__ import annotations

import json
import threading

import pytest
from access_homes import Clock, bearer, key_service, make_keys
from work_server import WorkServer

from quickserveml_tui.core.access import Permission, RateLimit
from quickserveml_tui.core.errors import NotPermittedError, QuickServeError
from quickserveml_tui.server.access import (
    ANONYMOUS,
    OpenGatekeeper,
    Unknown,
    advice,
    asks_for_keys,
    caller_of,
    key_in_query,
    require_safe,
)
from quickserveml_tui.server.gatekeeper import KeyGatekeeper, open_gatekeeper
from quickserveml_tui.server.host_policy import HostPolicy
from quickserveml_tui.server.limits import DAY_S, FAILURES_AT_ONCE, DayClock, FailureLimit, Limiter
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.server.quota_file import QuotaFile
from quickserveml_tui.server.shared_limits import SharedLimits

DEADLINE_S = 30


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keys(tmp_path, clock):
    return key_service(tmp_path, clock)


@pytest.fixture
def texts(keys, clock):
    return make_keys(keys, clock)


@pytest.fixture
def gatekeeper(keys, texts, clock):
    return KeyGatekeeper(keys, wall=clock)


def code_of(gatekeeper, headers):
    with pytest.raises(NotPermittedError) as error:
        gatekeeper.identify(headers)
    assert error.value.http_status == 401
    assert error.value.hint
    return error.value.code


def test_a_key_is_taken_from_either_header(gatekeeper, texts):
    admin = texts["admin"].encode()
    for headers in (
        [(b"authorization", b"Bearer " + admin)],
        [(b"authorization", b"bearer  " + admin)],
        [(b"x-api-key", admin)],
        [(b"x-api-key", admin), (b"authorization", b"Bearer " + admin)],
    ):
        assert gatekeeper.identify(headers).id == texts["admin"].split("_")[1]


def test_equal_keys_give_one_caller(gatekeeper, texts):
    assert gatekeeper.identify(bearer(texts["infer"])) is gatekeeper.identify(bearer(texts["infer"]))


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "auth.missing"),
        ([(b"x-forwarded-for", b"127.0.0.1")], "auth.missing"),
        ([(b"authorization", b"")], "auth.malformed"),
        ([(b"authorization", b"Bearer")], "auth.malformed"),
        ([(b"authorization", b"Bearer ")], "auth.malformed"),
        ([(b"authorization", b"Basic dXNlcjpwYXNz")], "auth.malformed"),
        ([(b"authorization", b"Bearer eyJhbGciOiJub25lIn0.e30.")], "auth.malformed"),
        ([(b"authorization", b"Bearer \xff\xfe")], "auth.malformed"),
        ([(b"x-api-key", b"")], "auth.malformed"),
        ([(b"x-api-key", b"qsml_" + b"a" * 100_000)], "auth.malformed"),
        ([(b"x-api-key", b"qsml_a_b_c"), (b"x-api-key", b"qsml_a_b_d")], "auth.malformed"),
    ],
)
def test_what_is_no_key_is_told(gatekeeper, headers, code):
    assert code_of(gatekeeper, headers) == code
    assert gatekeeper.refused[code] == 1


@pytest.mark.parametrize(
    ("name", "code"), [("wrong", "auth.invalid"), ("expired", "auth.expired"), ("revoked", "auth.revoked")]
)
def test_keys_that_do_not_hold_are_told_apart_only_by_who_knows_the_secret(gatekeeper, texts, name, code):
    assert code_of(gatekeeper, bearer(texts[name])) == code
    assert code_of(gatekeeper, bearer(texts[name][:-1])) == "auth.malformed"


def test_an_unknown_key_and_a_wrong_one_are_told_alike_and_compared_alike(gatekeeper, texts, tmp_path, monkeypatch):
    import hmac

    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda one, two: compared.append(len(two)) or real(one, two))
    said = []
    stranger = key_service(tmp_path / "elsewhere", Clock()).create("x").text
    for text in (stranger, texts["wrong"]):
        with pytest.raises(NotPermittedError) as error:
            gatekeeper.identify(bearer(text))
        said.append((error.value.code, error.value.message, error.value.hint))
    assert said[0] == said[1]
    assert compared == [64, 64]


def test_changes_of_the_file_are_taken_up_and_change_the_version(gatekeeper, keys, texts, clock):
    version = gatekeeper.version
    gatekeeper.refresh()
    assert gatekeeper.version == version
    new = keys.create("new", expires_in_s=100).text
    assert code_of(gatekeeper, bearer(new)) == "auth.invalid"
    gatekeeper.refresh()
    assert gatekeeper.version > version
    assert gatekeeper.identify(bearer(new))
    before = gatekeeper.identify(bearer(texts["infer"]))
    version = gatekeeper.version
    clock.now += 101
    gatekeeper.refresh()
    assert gatekeeper.version > version
    assert code_of(gatekeeper, bearer(new)) == "auth.expired"
    keys.revoke("infer")
    gatekeeper.refresh()
    assert code_of(gatekeeper, bearer(texts["infer"])) == "auth.revoked"
    assert before.id


def test_a_rotated_key_works_until_its_overlap_is_over(gatekeeper, keys, texts, clock):
    new = keys.rotate("infer", overlap_s=60).text
    gatekeeper.refresh()
    assert gatekeeper.identify(bearer(new)).id != gatekeeper.identify(bearer(texts["infer"])).id
    clock.now += 61
    assert code_of(gatekeeper, bearer(texts["infer"])) == "auth.expired"
    assert gatekeeper.identify(bearer(new))


def test_a_damaged_file_leaves_the_keys_as_they_were_and_says_so_once(gatekeeper, keys, texts, caplog):
    whole = keys.path.read_bytes()
    keys.path.write_bytes(b"{")
    for _ in range(3):
        gatekeeper.refresh()
    assert gatekeeper.identify(bearer(texts["admin"]))
    assert len([record for record in caplog.records if "keys stay" in record.getMessage()]) == 1
    keys.path.write_bytes(whole)
    gatekeeper.refresh()
    assert gatekeeper.identify(bearer(texts["admin"]))
    keys.path.unlink()
    gatekeeper.refresh()
    assert code_of(gatekeeper, bearer(texts["admin"])) == "auth.invalid"


def test_a_thread_follows_the_file(keys, texts):
    gatekeeper = KeyGatekeeper(keys, wall=Clock())
    changed = threading.Event()
    real = gatekeeper.refresh
    gatekeeper.refresh = lambda: (real(), changed.set() if gatekeeper.version > 1 else None)
    gatekeeper.start()
    try:
        keys.create("later")
        assert changed.wait(DEADLINE_S)
    finally:
        gatekeeper.close()


def test_a_server_without_keys_lets_everybody_do_everything():
    caller = OpenGatekeeper().identify([])
    assert caller is ANONYMOUS
    assert all(caller.allows(permission, "any") for permission in Permission)
    assert caller.admit(0.0).allowed


# ---- limits


def limiter(limit, *, wall=None, shared=None, now=0.0):
    shared = shared or SharedLimits()
    return Limiter(limit, DayClock(now, wall or Clock(DAY_S * 20_000)), now, shared, shared.rows(["key"])["key"])


def limiters(limit, path, workers, wall=None):
    """The limiters of one key in the workers of a server."""
    shares = [SharedLimits(path, workers=workers, worker=index) for index in range(workers)]
    return [limiter(limit, wall=wall, shared=shared) for shared in shares]


def test_a_bucket_gives_its_burst_then_its_rate():
    bucket = limiter(RateLimit(10, 5))
    assert [bucket.admit(0.0).allowed for _ in range(6)] == [True] * 5 + [False]
    refused = bucket.admit(0.0)
    assert refused.code == "rate.limited"
    assert dict(refused.headers)["Retry-After"] == "1"
    assert [bucket.admit(0.1).allowed for _ in range(2)] == [True, False]
    assert sum(bucket.admit(1000.0).allowed for _ in range(20)) == 5


def test_headers_say_policy_and_what_is_left():
    bucket = limiter(RateLimit(10, 20, 1000))
    headers = dict(bucket.admit(0.0).headers)
    assert headers == {
        "RateLimit-Policy": '"rate";q=20;w=2, "day";q=1000;w=86400',
        "RateLimit": '"rate";r=19;t=1, "day";r=999;t=86400',
    }


def test_a_quota_lasts_for_a_day_of_the_wall_clock():
    wall = Clock(DAY_S * 20_000 + 100)
    bucket = limiter(RateLimit(0, 0, 3), wall=wall)
    assert [bucket.admit(float(at)).allowed for at in range(4)] == [True, True, True, False]
    refused = bucket.admit(5.0)
    assert refused.code == "rate.quota"
    assert int(dict(refused.headers)["Retry-After"]) == DAY_S - 100 - 5
    wall.now += DAY_S
    assert bucket.admit(float(DAY_S)).allowed


def test_a_quota_is_granted_whole_however_its_requests_fall_on_workers(tmp_path):
    for number, turns in enumerate([(0, 0, 0, 0, 0, 0, 0, 1), (0, 1) * 4, (1, 1, 0, 1, 1, 1, 1, 0)]):
        parts = limiters(RateLimit(0, 0, 7), tmp_path / f"limits{number}", 2)
        assert [parts[turn].admit(0.0).allowed for turn in turns] == [True] * 7 + [False]


def test_a_large_quota_is_granted_whole_too(tmp_path):
    parts = limiters(RateLimit(0, 0, 1000), tmp_path / "limits", 3)
    granted = [parts[at % 5 % 3].admit(0.0).allowed for at in range(1200)]
    assert granted == [True] * 1000 + [False] * 200


def test_one_worker_may_grant_the_whole_rate_and_all_together_no_more(tmp_path):
    parts = limiters(RateLimit(100, 40), tmp_path / "limits", 4)
    assert sum(parts[2].admit(10.0).allowed for _ in range(100)) == 40
    assert not any(part.admit(10.0).allowed for part in parts)
    assert sum(part.admit(10.1).allowed for part in parts for _ in range(100)) == 10
    assert sum(part.admit(99.0).allowed for part in parts for _ in range(100)) == 40


def test_what_a_worker_granted_counts_when_it_has_crashed(tmp_path):
    path, limit = tmp_path / "limits", RateLimit(10, 5, 6)
    first, second = limiters(limit, path, 2)
    assert [first.admit(1.0).allowed for _ in range(5)] == [True] * 5
    after = limiter(limit, shared=SharedLimits(path, workers=2, worker=0), now=1.0)
    assert not after.admit(1.0).allowed
    assert [after.admit(2.0).allowed, second.admit(2.0).allowed] == [True, False]


def test_a_new_day_begins_for_all_workers_and_a_clock_that_is_set_back_gives_no_second_one(tmp_path):
    wall = Clock(DAY_S * 20_000)
    first, second = limiters(RateLimit(0, 0, 2), tmp_path / "limits", 2, wall)
    assert [first.admit(0.0).allowed, second.admit(0.0).allowed, first.admit(0.0).allowed] == [True, True, False]
    wall.now += DAY_S
    assert first.admit(DAY_S + 1.0).allowed
    assert second.admit(1.0).allowed  # it learns of the day from the other
    assert not first.admit(DAY_S + 1.0).allowed
    wall.now -= 2 * DAY_S
    later = limiters(RateLimit(0, 0, 2), tmp_path / "limits", 2, wall)
    assert [later[at % 2].admit(0.0).allowed for at in range(4)] == [True, True, False, False]


def test_rows_of_keys_that_are_gone_are_given_to_new_ones_empty(tmp_path, monkeypatch):
    from quickserveml_tui.server import shared_limits

    monkeypatch.setattr(shared_limits, "ROWS", 2)
    shared = SharedLimits(tmp_path / "limits", workers=2)
    for row in shared.rows(["a", "b"]).values():
        row.used[0], row.full_at[1] = 5, 5.0
    found = shared.rows(["b", "c", "d"])
    assert [found["b"].used[0], found["b"].full_at[1]] == [5, 5.0]
    assert [found["c"].used[0], found["c"].full_at[1]] == [0, 0.0]
    assert found["d"].used.tolist() == [0, 0, 0]  # beyond the room: counted by this worker alone, never not at all


def test_a_worker_that_keeps_the_lock_holds_nobody_up_for_long_and_gives_nothing_away(tmp_path):
    first, second = limiters(RateLimit(0, 0, 7), tmp_path / "limits", 2)
    assert first._shared.try_lock()
    refused = second.admit(0.0)
    assert (refused.allowed, dict(refused.headers)["Retry-After"]) == (False, "1")
    first._shared.unlock()
    assert [second.admit(1.0).allowed for _ in range(8)] == [True] * 7 + [False]


def test_what_was_used_survives_a_restart_and_a_change_of_the_key(tmp_path, keys, clock):
    text = keys.create("day", limit=RateLimit(0, 0, 5)).text
    quotas = QuotaFile(tmp_path, "127.0.0.1", 8000)
    first = KeyGatekeeper(keys, quotas=quotas, wall=clock)
    for _ in range(3):
        assert first.identify(bearer(text)).admit(0.0).allowed
    first.close()
    second = KeyGatekeeper(keys, quotas=QuotaFile(tmp_path, "127.0.0.1", 8000), wall=clock)
    caller = second.identify(bearer(text))
    assert [caller.admit(0.0).allowed for _ in range(3)] == [True, True, False]
    keys.create("another")
    second.refresh()
    assert not second.identify(bearer(text)).admit(0.0).allowed


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"day":1}', b"\xff", b'{"day":99999999,"used":{"x":5}}'])
def test_a_quota_file_that_cannot_be_read_counts_as_none(tmp_path, data):
    quotas = QuotaFile(tmp_path, "::1", 8000)
    quotas.write(1, {"x": 1})
    (path,) = (tmp_path / "quotas").iterdir()
    path.write_bytes(data)
    assert isinstance(quotas.read().used, dict)


def test_attempts_are_bounded_in_rate_and_memory_and_lock_nobody_out(gatekeeper, texts):
    bad = caller_of(gatekeeper, bearer(texts["wrong"]))
    assert isinstance(bad, Unknown)
    assert bad.limited
    for at in range(FAILURES_AT_ONCE):
        spoofed = caller_of(gatekeeper, [*bearer(texts["wrong"]), (b"x-forwarded-for", f"10.0.0.{at % 250}".encode())])
        assert spoofed.admit(0.0).allowed
    refused = bad.admit(0.0)
    assert (refused.allowed, refused.code) == (False, "auth.too_many")
    assert dict(refused.headers)["Retry-After"]
    assert gatekeeper.identify(bearer(texts["infer"])).admit(0.0).allowed
    assert not caller_of(gatekeeper, []).limited
    assert bad.admit(10.0).allowed
    assert not hasattr(FailureLimit(), "__dict__")


# ---- keys in the query


@pytest.mark.parametrize(
    "query",
    [b"api_key=x", b"a=1&API-KEY=x", b"access_token=x", b"q=qsml_abc", b"q=%71sml%5Fabc", b"ap%69_key=x", b"token=x"],
)
def test_a_key_in_the_query_is_seen(query):
    assert key_in_query(query)


@pytest.mark.parametrize("query", [b"", b"keys=1", b"page_token=abc", b"limit=5&sort=-name", b"api_key", b"monkey=1"])
def test_other_queries_pass(query):
    assert not key_in_query(query)


@pytest.fixture(scope="module")
def app_home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    (folder / "home").mkdir()
    clock = Clock()
    keys = key_service(folder / "home", clock)
    texts = make_keys(keys, clock)
    origins = ("https://ui.example",)
    server = WorkServer(folder, gatekeeper=KeyGatekeeper(keys, wall=clock), auth="keys", allowed_origins=origins)
    yield server.app, texts
    server.engine.stop()
    server.workbench.close()


@pytest.mark.parametrize("path", ["/v2/models/tiny", "/health", "/api/v1/models", "/nope"])
def test_a_key_in_the_query_is_refused_and_not_repeated(app_home, path):
    from access_homes import ask

    app, texts = app_home
    text = texts["admin"]
    answer = ask(app, "GET", path, bearer(text), query=b"api_key=" + text.encode())
    assert answer.status == 400
    assert text.split("_")[2].encode() not in answer.body
    said = answer.json()
    assert said.get("code", "auth.in_query") == "auth.in_query"
    assert "rotate" in json.dumps(said)


# ---- pages of other origins


def test_pages_of_an_allowed_origin_may_ask_and_read(app_home):
    from access_homes import ask

    app, texts = app_home
    origin = [(b"origin", b"https://ui.example")]
    preflight = ask(app, "OPTIONS", "/v2/models/tiny/infer", [*origin, (b"access-control-request-method", b"POST")])
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "https://ui.example"
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in preflight.headers
    assert "origin" in preflight.headers["vary"]
    answer = ask(app, "GET", "/v2", [*origin, *bearer(texts["infer"])])
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "https://ui.example"
    assert "ratelimit" in answer.headers["access-control-expose-headers"]
    refused = ask(app, "GET", "/v2", origin)
    assert refused.status == 401
    assert refused.headers["access-control-allow-origin"] == "https://ui.example"


def test_pages_of_other_origins_get_no_leave(app_home):
    from access_homes import ask

    app, _texts = app_home
    asked = [(b"origin", b"https://evil.example"), (b"access-control-request-method", b"POST")]
    answer = ask(app, "OPTIONS", "/v2/models/tiny/infer", asked)
    assert answer.status != 204
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "origin"


# ---- hosts


def policy(**options):
    return HostPolicy(ServeOptions(**options))


def test_a_loopback_server_answers_under_loopback_names_only():
    local = policy()
    for host in (
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1:1",
        "127.8.8.8",
        "[::1]:8000",
        "localhost.",
        "localhost:99999"[:-1],
    ):
        assert local.is_own(host), host
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b", "localhost:x", "[::1",
                 "user@localhost", "localhost/", "localhost,evil.example", "0x7f.1", "10.0.0.1", "*", "localhost#", "%6cocalhost"):  # fmt: skip
        assert not local.is_own(host), host


def test_names_that_are_allowed_are_answered():
    named = policy(allowed_hosts=("models.example", ".corp.example"))
    for host in (
        "models.example",
        "MODELS.example:443",
        "a.corp.example",
        "a.b.corp.example",
        "corp.example",
        "localhost",
    ):
        assert named.is_own(host), host
    for host in ("x.models.example", "evilcorp.example", "corp.example.evil"):
        assert not named.is_own(host), host


def test_a_server_on_all_addresses_answers_under_any_address_and_no_foreign_name():
    everywhere = policy(host="0.0.0.0", allow_remote=True)
    for host in ("10.1.2.3:8000", "[fe80::1]", "localhost"):
        assert everywhere.is_own(host), host
    assert not everywhere.is_own("evil.example")
    assert policy(host="10.1.2.3").is_own("10.1.2.3")
    assert not policy(host="10.1.2.3").is_own("localhost")


@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        ("http://localhost:8000", True), ("https://ui.example", True), ("HTTPS://UI.example:443", True),
        ("https://ui.example:8443", False), ("http://ui.example", False), ("https://ui.example.evil", False),
        ("null", False), ("", False), ("https://", False), ("file://", False), ("http://localhost:8001", False),
        ("https://user@ui.example", False), ("https://ui.example/", False),
    ],
)  # fmt: skip
def test_origins_are_the_servers_own_or_allowed(origin, passes):
    found = policy(allowed_origins=("https://ui.example",)).refuse(
        [(b"host", b"localhost:8000"), (b"origin", origin.encode())]
    )
    assert (found is None) == passes
    assert passes or (found[0], found[1]) == (403, "http.origin")


@pytest.mark.parametrize("hosts", [[], [b"localhost", b"localhost"]])
def test_a_request_names_exactly_one_host(hosts):
    refused = policy().refuse([(b"host", host) for host in hosts])
    assert refused[:2] == (400, "http.host")


@pytest.mark.parametrize(
    "options",
    [{"allowed_hosts": (bad,)} for bad in ("", ".", "*", "*.example", "a b", "a/b", "a:80", "a@b")]
    + [{"allowed_origins": (bad,)} for bad in ("", "*", "ui.example", "ftp://x", "https://*", "https://x/y", "null")],
)
def test_names_and_origins_that_cannot_be_are_refused_at_the_start(options):
    with pytest.raises(QuickServeError) as error:
        policy(**options)
    assert error.value.code == "usage.serve"


# ---- what may be started


def refusal(options, keys=None):
    with pytest.raises(QuickServeError) as error:
        require_safe(options, keys)
    assert error.value.hint
    return error.value.code


def test_beyond_loopback_it_takes_a_flag_and_a_key_that_holds(keys, monkeypatch):
    monkeypatch.setattr("quickserveml_tui.server.access.time.time", Clock())
    remote = ServeOptions(host="0.0.0.0", allow_remote=True)
    assert refusal(ServeOptions(host="0.0.0.0"), keys) == "serve.not_loopback"
    assert refusal(ServeOptions(host="10.0.0.1", allow_remote=True, auth="none"), keys) == "serve.no_auth"
    assert refusal(remote) == "usage.serve"
    assert refusal(remote, keys) == "serve.no_keys"
    key = keys.create("ci", expires_in_s=5).key
    require_safe(remote, keys)
    keys.revoke(key.id)
    assert refusal(remote, keys) == "serve.no_keys"
    assert refusal(ServeOptions(auth="maybe")) == "usage.serve"
    assert refusal(ServeOptions(tls_cert="x")) == "usage.serve"
    require_safe(ServeOptions(), None)
    require_safe(ServeOptions(auth="keys"), keys)


def test_keys_are_asked_for_wherever_the_server_can_be_reached_from_elsewhere(keys):
    assert not asks_for_keys(ServeOptions())
    assert asks_for_keys(ServeOptions(auth="keys"))
    assert asks_for_keys(ServeOptions(host="0.0.0.0"))
    assert isinstance(open_gatekeeper(ServeOptions(), None), OpenGatekeeper)
    with pytest.raises(QuickServeError):
        open_gatekeeper(ServeOptions(auth="keys"), None)
    assert advice(ServeOptions(host="0.0.0.0"))
    assert not advice(ServeOptions())


def test_a_key_whose_end_cannot_be_read_is_refused_and_others_go_on(gatekeeper, keys, texts, caplog):
    damaged = keys.create("damaged", expires_in_s=1000).text
    gatekeeper.refresh()
    assert gatekeeper.identify(bearer(damaged))
    document = json.loads(keys.path.read_text())
    record = next(item for item in document["keys"].values() if item["name"] == "damaged")
    record["expires_at"] = "next week, perhaps"
    keys.path.write_text(json.dumps(document))
    gatekeeper.refresh()
    with pytest.raises(NotPermittedError):
        gatekeeper.identify(bearer(damaged))
    assert caplog.text.count("The record of key damaged (") == 1
    assert gatekeeper.identify(bearer(texts["infer"]))
    keys.revoke("infer")
    gatekeeper.refresh()
    with pytest.raises(NotPermittedError):
        gatekeeper.identify(bearer(texts["infer"]))


def test_whatever_the_file_does_it_is_followed_on_and_told_once(gatekeeper, keys, texts, caplog, monkeypatch):
    def fail(**_):
        raise ValueError

    keys.revoke("infer")
    with monkeypatch.context() as patch:
        patch.setattr(gatekeeper._keys, "list", fail)
        gatekeeper.refresh()
        gatekeeper.refresh()
    assert caplog.text.count("cannot be understood") == 1
    gatekeeper.refresh()
    with pytest.raises(NotPermittedError):
        gatekeeper.identify(bearer(texts["infer"]))
