"""`/api/v1` on the catalog: reading, changing, revisions, pages, keys that reach only some models."""

import io
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from api_server import KEYS, Gate, as_key, doubled
from onnx import helper
from server_models import model, value
from work_server import DEADLINE_S, work_server

from quickserveml_tui.server.events import Streams

_numbers = itertools.count(10)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with work_server(tmp_path_factory.mktemp("api"), gatekeeper=Gate()) as running:
        yield running


@pytest.fixture
def name(server):
    """A model of its own with one version."""
    chosen = f"m{next(_numbers)}"
    assert server.post("/models", params={"name": chosen}, content=doubled(next(_numbers))).status_code == 201
    return chosen


def patch(server, path, **more):
    return server.client.patch(f"/api/v1{path}", **more)


def put(server, path, **more):
    return server.client.put(f"/api/v1{path}", **more)


def code(response, status):
    assert response.status_code == status, response.text
    document = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert document["status"] == status
    assert set(document) >= {"type", "title", "status", "code", "detail", "hint"}
    return document["code"]


# ---- models ---------------------------------------------------------------------------------------------------------


def test_a_model_is_found_by_name_and_by_id_and_shows_its_latest_version(server, name):
    by_name = server.get(f"/models/{name}")
    by_id = server.get(f"/models/{by_name.json()['id']}")
    assert by_name.json() == by_id.json()
    assert by_name.json()["latest"]["trial"]["outcome"] == "ready"
    assert by_name.headers["etag"] == by_id.headers["etag"]


def test_who_has_a_model_already_is_told_so_without_a_body(server, name):
    etag = server.get(f"/models/{name}").headers["etag"]
    again = server.get(f"/models/{name}", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    patch(server, f"/models/{name}", json={"task": "other"})
    assert server.get(f"/models/{name}", headers={"If-None-Match": etag}).status_code == 200


def test_pages_of_a_list_hold_every_model_once(server, name):
    assert name
    seen, token = [], ""
    while True:
        page = server.get("/models", params={"limit": 1, "sort": "-updated", "page_token": token}).json()
        seen += [item["name"] for item in page["models"]]
        token = page["next_page_token"]
        if not token:
            break
    assert len(seen) == len(set(seen)) == page["total"]
    assert name in seen


def test_a_filter_chooses_models(server, name):
    patch(server, f"/models/{name}", json={"task": "weather"})
    found = server.get("/models", params={"filter": "task = weather"}).json()
    assert [item["name"] for item in found["models"]] == [name]


def test_a_change_keeps_what_it_leaves_out_and_null_takes_away(server, name):
    patch(server, f"/models/{name}", json={"task": "a", "author": "b", "tags": ["x"], "metadata": {"k": "1", "l": "2"}})
    changed = patch(
        server, f"/models/{name}", json={"author": None, "tags": ["y", "z"], "metadata": {"k": None}}
    ).json()
    assert (changed["task"], changed["author"], changed["tags"]) == ("a", "", ["y", "z"])
    assert changed["metadata"] == {"l": "2"}


def test_an_empty_change_writes_nothing(server, name):
    before = server.get(f"/models/{name}").headers["etag"]
    assert patch(server, f"/models/{name}", json={}).headers["etag"] == before


def test_a_replacement_leaves_nothing_of_before_and_must_say_what_it_replaces(server, name):
    first = patch(server, f"/models/{name}", json={"author": "b", "tags": ["x"], "metadata": {"k": "1"}})
    assert code(put(server, f"/models/{name}", json={"task": "new"}), 428) == "precondition.required"
    done = put(server, f"/models/{name}", json={"task": "new"}, headers={"If-Match": first.headers["etag"]}).json()
    assert (done["task"], done["author"], done["tags"], done["metadata"]) == ("new", "", [], {})


@pytest.mark.parametrize(
    ("method", "path", "document"),
    [
        ("PATCH", "", {"task": "late"}),
        ("PUT", "", {"task": "late"}),
        ("DELETE", "", None),
        ("PATCH", "/versions/1", {"notes": "late"}),
        ("DELETE", "/versions/1", None),
        ("PUT", "/aliases/mark", {"version": 1}),
        ("DELETE", "/aliases/mark", None),
        ("POST", "/promote", {"version": 1}),
        ("POST", "/versions/1/golden", {}),
    ],
)
def test_a_stale_revision_changes_nothing(server, name, method, path, document):
    stale = server.get(f"/models/{name}").headers["etag"]
    put(server, f"/models/{name}/aliases/mark", json={"version": 1})
    now = server.get(f"/models/{name}").headers["etag"]
    answer = server.client.request(method, f"/api/v1/models/{name}{path}", json=document, headers={"If-Match": stale})
    assert code(answer, 412) == "precondition.failed"
    assert server.get(f"/models/{name}").headers["etag"] == now


@pytest.mark.parametrize("tag", ["junk", '"unclosed', 'W/"weak"x', "1"])
def test_an_if_match_that_is_no_list_of_tags_is_refused(server, name, tag):
    answer = patch(server, f"/models/{name}", json={"task": "x"}, headers={"If-Match": tag})
    assert code(answer, 400) == "precondition.invalid"


def test_a_weak_tag_never_matches_and_a_star_always_does(server, name):
    etag = server.get(f"/models/{name}").headers["etag"]
    weak = patch(server, f"/models/{name}", json={"task": "x"}, headers={"If-Match": f"W/{etag}"})
    assert code(weak, 412) == "precondition.failed"
    assert patch(server, f"/models/{name}", json={"task": "x"}, headers={"If-Match": "*"}).status_code == 200


def test_a_deleted_model_stands_in_the_trash_and_comes_back(server, name):
    gone = server.delete(f"/models/{name}").json()
    assert code(server.get(f"/models/{name}"), 404) == "model.not_found"
    entries = server.get("/models/trash").json()["entries"]
    assert gone["trash_id"] in [entry["id"] for entry in entries]
    assert server.post(f"/models/{gone['trash_id']}/restore").json()["name"] == name
    assert server.get(f"/models/{name}").status_code == 200
    assert code(server.post(f"/models/{gone['trash_id']}/restore"), 404) == "trash.not_found"


def test_a_model_is_restored_under_another_name(server, name):
    server.delete(f"/models/{name}")
    other = f"{name}-back"
    assert server.post(f"/models/{name}/restore", json={"name": other}).json()["name"] == other


# ---- versions and aliases -------------------------------------------------------------------------------------------


def test_a_version_is_named_by_number_label_alias_or_as_the_latest(server, name):
    assert patch(server, f"/models/{name}/versions/1", json={"label": "1.2.0", "state": "validated"}).status_code == 200
    put(server, f"/models/{name}/aliases/beta", json={"version": "1.2.0"})
    found = [server.get(f"/models/{name}/versions/{each}").json() for each in ("1", "1.2.0", "beta", "latest")]
    assert all(item == found[0] for item in found)
    assert (found[0]["label"], found[0]["state"], found[0]["aliases"]) == ("1.2.0", "validated", ["beta"])


def test_the_move_of_an_alias_to_other_inputs_is_answered_with_a_warning(server, name):
    made = model([helper.make_node("Neg", ["other"], ["y"])], [value("other")], [value("y")])
    more = server.post(f"/models/{name}/versions", content=made.SerializeToString(), params={"alias": "beta"})
    assert more.json()["warning"] == ""
    number = more.json()["version"]["version"]
    assert put(server, f"/models/{name}/aliases/live", json={"version": 1}).json()["warnings"] == []
    (warning,) = put(server, f"/models/{name}/aliases/live", json={"version": number}).json()["warnings"]
    assert f"{name}@{number} has other inputs or outputs than {name}@1, which live pointed at" in warning
    assert "input “x” is gone" in warning
    (warning,) = server.post(f"/models/{name}/promote", json={"alias": "live", "version": 1}).json()["warnings"]
    assert "input “other” is gone" in warning


def test_a_protected_alias_stays_unless_forced(server, name):
    assert server.post(f"/models/{name}/promote").json()["alias"] == "prod"
    assert code(server.delete(f"/models/{name}/aliases/prod"), 409) == "alias.protected"
    assert code(server.delete(f"/models/{name}"), 409) == "alias.protected"
    refused = server.delete(f"/models/{name}/versions/1").json()
    assert "--force" not in refused["hint"]
    assert server.delete(f"/models/{name}/aliases/prod", params={"force": True}).status_code == 204
    assert code(server.get(f"/models/{name}/aliases/prod"), 404) == "alias.not_found"


def test_the_versions_of_a_model_come_in_pages_newest_first(server, name):
    for _ in range(2):
        assert server.post(f"/models/{name}/versions", content=doubled(next(_numbers))).status_code == 201
    first = server.get(f"/models/{name}/versions", params={"limit": 2}).json()
    rest = server.get(f"/models/{name}/versions", params={"limit": 2, "page_token": first["next_page_token"]}).json()
    assert [item["version"] for item in first["versions"] + rest["versions"]] == [3, 2, 1]
    assert rest["next_page_token"] == ""


def test_golden_outputs_guard_a_promotion(server, name):
    inputs = {"x": [[1, 2, 3, 4]]}
    base = f"/models/{name}/versions/1/golden"
    recorded = server.post(base, json={"name": "four", "inputs": inputs})
    assert recorded.status_code == 201, recorded.text
    assert server.get(base).json()["golden"][0]["name"] == "four"
    values = np.load(io.BytesIO(server.get(f"{base}/four/inputs").content))
    assert values["x"].tolist() == [[1, 2, 3, 4]]
    assert server.post(f"{base}/verify").json()["ok"] is True
    assert server.post(f"/models/{name}/promote").status_code == 200
    server.post(f"/models/{name}/versions", content=doubled(next(_numbers)))
    verdict = server.post(f"/models/{name}/versions/2/golden/verify", json={"against": "1"}).json()
    assert (verdict["ok"], verdict["checks"][0]["code"]) == (False, "golden.differs")
    assert server.delete(f"{base}/four").status_code == 204
    assert code(server.delete(f"{base}/four"), 404) == "golden.not_found"


# ---- keys -----------------------------------------------------------------------------------------------------------


READS = (
    "",
    "/versions",
    "/versions/1",
    "/versions/1/graph",
    "/versions/1/schema",
    "/versions/1/layers",
    "/versions/1/artifact",
    "/versions/1/golden",
    "/versions/1/golden/x/inputs",
    "/aliases",
    "/aliases/prod",
)
WRITES = (
    ("PATCH", "", {"task": "x"}),
    ("PUT", "", {"task": "x"}),
    ("DELETE", "", None),
    ("POST", "/restore", {}),
    ("POST", "/promote", {}),
    ("PATCH", "/versions/1", {"notes": "x"}),
    ("DELETE", "/versions/1", None),
    ("PUT", "/aliases/a", {"version": 1}),
    ("DELETE", "/aliases/a", None),
    ("POST", "/versions/1/golden", {}),
    ("POST", "/versions/1/golden/verify", {}),
    ("DELETE", "/versions/1/golden/x", None),
    ("POST", "/versions", None),
)


def test_a_foreign_model_is_as_absent_as_one_that_is_not_there(server, name):
    model_id = server.get(f"/models/{name}").json()["id"]
    for path, which in itertools.product(READS, (name, model_id)):
        foreign = server.get(f"/models/{which}{path}", headers=as_key("tenant"))
        absent = server.get(f"/models/none-{which}{path}", headers=as_key("tenant"))
        assert foreign.status_code == absent.status_code == 404, path
        assert foreign.json() | {"detail": ""} == absent.json() | {"detail": ""}
        assert name not in foreign.json()["hint"]


def test_a_foreign_model_cannot_be_changed_and_is_not_known_to_writes(server, name):
    before = server.get(f"/models/{name}").headers["etag"]
    for method, path, document in WRITES:
        url = f"/api/v1/models/{name}{path}"
        headers = as_key("tenant") | {"If-Match": before}
        if document is None:
            answer = server.client.request(
                method, url, content=doubled() if method == "POST" else None, headers=headers
            )
        else:
            answer = server.client.request(method, url, json=document, headers=headers)
        assert code(answer, 404) in ("model.not_found", "trash.not_found"), (method, path)
    assert server.get(f"/models/{name}").headers["etag"] == before


def test_lists_and_the_trash_leave_foreign_models_out(server, name):
    server.post("/models", params={"name": "mine-1"}, content=doubled(next(_numbers)))
    listed = server.get("/models", headers=as_key("tenant")).json()
    assert ([item["name"] for item in listed["models"]], listed["total"]) == (["mine-1"], 1)
    digest = server.get(f"/models/{name}").json()["latest"]["digest"]
    by_digest = server.get("/models", params={"filter": f"digest = {digest}"}, headers=as_key("tenant"))
    assert by_digest.status_code == 400 or by_digest.json()["total"] == 0
    server.delete(f"/models/{name}")
    assert server.get("/models/trash", headers=as_key("tenant")).json()["entries"] == []
    assert code(server.post(f"/models/{name}/restore", headers=as_key("tenant")), 404) == "trash.not_found"
    server.delete("/models/mine-1")


def test_a_key_adds_no_model_beyond_its_patterns_and_learns_no_foreign_name(server, name):
    for chosen in (name, "nobody"):
        answer = server.post("/models", params={"name": chosen}, content=doubled(), headers=as_key("tenant"))
        assert code(answer, 403) == "auth.forbidden"
    made = server.post(
        "/models",
        params={"name": "mine-2", "parent": f"{name}@1"},
        content=doubled(next(_numbers)),
        headers=as_key("tenant"),
    )
    missing = server.post(
        "/models", params={"name": "mine-2", "parent": "nothing@1"}, content=doubled(), headers=as_key("tenant")
    )
    assert code(made, 404) == code(missing, 404) == "model.not_found"


def test_a_version_does_not_tell_a_key_of_a_foreign_parent(server, name):
    server.post("/models", params={"name": "mine-3"}, content=doubled(next(_numbers)))
    patch(server, "/models/mine-3/versions/1", json={"parent": f"{name}@1"})
    for path in ("/models/mine-3", "/models/mine-3/versions/1", "/models/mine-3/versions", "/models"):
        assert name not in server.get(path, headers=as_key("tenant")).text.replace("mine-3", "")
        assert f"{name}@1" in server.get(path).text
    server.delete("/models/mine-3")


def test_a_viewer_reads_and_writes_nothing(server, name):
    assert server.get(f"/models/{name}", headers=as_key("viewer")).status_code == 200
    for method, path, document in WRITES:
        answer = server.client.request(
            method, f"/api/v1/models/{name}{path}", json=document, headers=as_key("viewer") | {"If-Match": "*"}
        )
        assert code(answer, 403) == "auth.forbidden"
    assert code(server.post("/models", params={"name": "v"}, content=b"x", headers=as_key("viewer")), 403)


def test_a_server_without_a_home_says_that_it_has_no_catalog(tmp_path):
    with work_server(tmp_path, with_home=False) as bare:
        for path in ("/models", "/models/trash", "/models/tiny", "/models/tiny/versions/1/artifact"):
            assert code(bare.get(path), 404) == "catalog.none"
        assert code(bare.post("/models", params={"name": "x"}, content=doubled()), 404) == "catalog.none"


# ---- what takes long ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["versions/1/layers", "versions/1/graph", "versions/1/schema", "versions/1/artifact"])
def test_lists_are_answered_while_more_than_all_threads_would_be_waited_in(server, name, path, monkeypatch):
    go_on, begun = threading.Event(), threading.Semaphore(0)
    inspect, transfers = server.workbench.inspect, server.workbench.transfers

    def blocking(call):
        def blocked(*arguments, **options):
            begun.release()
            assert go_on.wait(DEADLINE_S)
            return call(*arguments, **options)

        return blocked

    for owner, method in ((inspect, "layers"), (inspect, "header"), (inspect, "schema"), (transfers, "open_artifact")):
        monkeypatch.setattr(owner, method, blocking(getattr(owner, method)))
    with ThreadPoolExecutor(60) as pool:
        try:
            slow = [pool.submit(httpx.get, f"{server.url}/api/v1/models/{name}/{path}", timeout=60) for _ in range(60)]
            assert begun.acquire(timeout=DEADLINE_S)
            while begun.acquire(timeout=0.2):  # until no further one begins
                pass
            assert server.get("/models", timeout=5).status_code == 200
            assert server.get(f"/models/{name}", timeout=5).status_code == 200
        finally:
            go_on.set()
        assert {item.result().status_code for item in slow} == {200}


# ---- streams --------------------------------------------------------------------------------------------------------


def test_a_stream_ends_when_its_key_is_revoked(server, monkeypatch):
    with server.client.stream("GET", "/api/v1/monitor/events?interval=0.25", headers=as_key("other")) as stream:
        lines = stream.iter_lines()
        assert "event: snapshot" in lines
        monkeypatch.delitem(KEYS, "other")
        monkeypatch.setattr(Gate, "version", 1)
        rest = list(lines)  # it ends
    assert "event: error" in rest
    assert any('"auth.invalid"' in line for line in rest)


def test_a_key_that_is_revoked_while_its_stream_begins_ends_it(server, monkeypatch):
    begin = Streams.response

    def revoked_meanwhile(self, request, events):
        monkeypatch.delitem(KEYS, "other")
        monkeypatch.setattr(Gate, "version", 1)
        return begin(self, request, events)

    monkeypatch.setattr(Streams, "response", revoked_meanwhile)
    with server.client.stream("GET", "/api/v1/monitor/events?interval=0.25", headers=as_key("other")) as stream:
        lines = list(stream.iter_lines())  # it ends
    assert "event: snapshot" not in lines
    assert any('"auth.invalid"' in line for line in lines)
