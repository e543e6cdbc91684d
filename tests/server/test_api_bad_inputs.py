"""What hostile clients send to `/api/v1`: each gets a clear error, nothing is registered or lost, the next one works."""

import json
import re

import httpx
import pytest
from api_server import Gate, doubled
from test_api_catalog import code, patch, put
from work_server import work_server

from quickserveml_tui.server.api.catalog_calls import without_paths

NAMES = (
    "../x",
    "..\\x",
    "/etc/passwd",
    "C:\\x",
    "\\\\host\\share",
    "%2e%2e%2fx",
    "%252e%252e",
    "a\0b",
    "\u00e0\u0300",
    ".",
    "..",
    " ",
    "a b",
    "x" * 256,
    "x" * 4097,
    "CON",
    "nul.onnx",
    "trailing.",
    "e\u0301",
    "\u0430dmin",
    "\u202egnp",
    "zero\u200bwidth",
    "\x1b]52;c;x\x07",
    "\x9b31m",
    "cr\r\nlf",
    "x[/]y",
    "[@click=app.quit]",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "'; DROP TABLE models; --",
    "{{7*7}}",
    "tiny@1",
    "tiny#node",
    "model.onnx",
    "~root",
)
VERSIONS = (
    "-1",
    "0",
    "1e3",
    "\u0663",
    str(2**63),
    "01",
    "+1",
    "1.",
    "1/2",
    "",
    "..",
    "x[/]y",
    "\0",
    "1#node",
    "%2e%2e",
    "9" * 5000,
)
ALIASES = ("1", "01", "1.2", "latest", "LATEST", "1e3", "0x10", "a b", "..", "\u202ex", "CON", "x" * 200)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with work_server(tmp_path_factory.mktemp("bad"), gatekeeper=Gate()) as running:
        yield running
        assert [item["name"] for item in running.get("/models").json()["models"]] == ["tiny"]
        assert running.get("/models/tiny").json()["versions"] == [1]


def quoted(text):
    """A text as one segment of a path, dots and slashes escaped."""
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def refused(answer, *statuses):
    assert answer.status_code in statuses, (answer.status_code, answer.text[:300])
    document = answer.json()
    assert document["code"]
    assert document["detail"]
    shown = document["detail"] + document["hint"]
    assert not any(ord(char) < 32 or char in "\x7f\x9b\u200b\u202e" for char in shown)
    assert "Traceback" not in answer.text
    return document


@pytest.mark.parametrize("name", NAMES)
def test_no_model_gets_or_has_a_name_that_is_none(server, name):
    refused(server.post("/models", params={"name": name}, content=doubled()), 400)
    refused(server.client.get(f"/api/v1/models/{quoted(name)}"), 400, 404)
    refused(server.client.delete(f"/api/v1/models/{quoted(name)}"), 400, 404)
    refused(server.client.post(f"/api/v1/models/{quoted(name)}/restore"), 400, 404)
    refused(server.client.post(f"/api/v1/models/{quoted(name)}/versions", content=doubled()), 400, 404)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_that_is_none_is_refused_everywhere(server, version):
    base = f"/api/v1/models/tiny/versions/{quoted(version)}"
    for path in ("", "/graph", "/schema", "/layers", "/artifact", "/golden"):
        answer = server.client.get(f"{base}{path}")
        if not version and not path:
            continue
        refused(answer, 400, 404, 405)
    refused(server.client.patch(base, json={"notes": "x"}), 400, 404, 405)
    refused(put(server, "/models/tiny/aliases/beta", json={"version": version}), 400, 404)
    refused(server.post("/models/tiny/promote", json={"version": version}), 400, 404)


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_that_is_none_is_refused(server, alias):
    refused(server.client.put(f"/api/v1/models/tiny/aliases/{quoted(alias)}", json={"version": 1}), 400)
    refused(server.client.get(f"/api/v1/models/tiny/aliases/{quoted(alias)}"), 400, 404)


@pytest.mark.parametrize("limit", ["-1", "0", "1001", "1e3", "", "\u0663", str(2**63), "ten", "1.5"])
@pytest.mark.parametrize(
    "path", ["/models", "/models/trash", "/models/tiny/versions", "/models/tiny/versions/1/layers"]
)
def test_a_limit_out_of_range_is_refused(server, path, limit):
    assert refused(server.get(path, params={"limit": limit}), 400)["code"] == "request.invalid"


@pytest.mark.parametrize(
    "token", ["x", "=", "A" * 4000, "MTIz", "Li4vLi4v", "\u0663", "null", "eyJrIjoxfQ", "\0", "a b", "%00"]
)
@pytest.mark.parametrize(
    "path", ["/models", "/models/trash", "/models/tiny/versions", "/models/tiny/versions/1/layers"]
)
def test_a_forged_page_token_is_refused(server, path, token):
    assert refused(server.get(path, params={"page_token": token}), 400)["code"] == "page.token"


def test_a_page_token_of_another_list_caller_or_filter_is_refused(server):
    server.post("/models", params={"name": "second"}, content=doubled(5))
    token = server.get("/models", params={"limit": 1}).json()["next_page_token"]
    assert token
    for params in ({"sort": "-name"}, {"filter": "tiny"}):
        assert code(server.get("/models", params=params | {"page_token": token}), 400) == "page.token"
    other = server.get("/models", params={"page_token": token}, headers={"Authorization": "Bearer other"})
    assert code(other, 400) == "page.token"
    assert code(server.get("/models/trash", params={"page_token": token}), 400) == "page.token"
    flipped = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    assert code(server.get("/models", params={"page_token": flipped}), 400) == "page.token"
    server.delete("/models/second")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 1500,
        "(" * 1000 + "tiny" + ")" * 1000,
        "NOT " * 900 + "x",
        "task =",
        "a AND",
        "\0",
        "nope > 1",
        "params < 1e999",
    ],
)
def test_a_filter_that_cannot_be_read_is_refused(server, text):
    refused(server.get("/models", params={"filter": text}), 400)


def test_ten_thousand_parentheses_are_refused(server):
    refused(server.get("/models", params={"filter": "(" * 10_000}), 400)


@pytest.mark.parametrize("sort", ["nope", "-", "--name", "name;drop", "\0", "x" * 100])
def test_an_order_that_is_none_is_refused(server, sort):
    refused(server.get("/models", params={"sort": sort}), 400)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"task": NaN}',
        b'{"task": 1e999}',
        b'{"task": 18446744073709551616}',
        b'{"task": "\\ud800"}',
        b'{"task": "\xff"}',
        b"[" * 100_000,
        b'{"metadata": ' * 20_000,
        b'{"task": ["x"]}',
        b'{"tags": "x"}',
        b'{"tags": [1]}',
        b'{"metadata": {"k": 1}}',
        b'{"rev": 99}',
        b'{"id": "model-000000000000"}',
        b'{"name": "other"}',
        b'{"versions": []}',
        b'{"protected": ["prod"]}',
        b'{"task": "\\u001b[31m"}',
        b'{"task": "' + b"x" * 201 + b'"}',
        b'{"tags": ["../x"]}',
        b'{"categories": ["a/b/c/d/e"]}',
    ],
)
def test_a_change_that_does_not_fit_is_refused_and_changes_nothing(server, body):
    before = server.get("/models/tiny").headers["etag"]
    headers = {"Content-Type": "application/json"}
    refused(patch(server, "/models/tiny", content=body, headers=headers), 400)
    refused(put(server, "/models/tiny", content=body, headers=headers | {"If-Match": before}), 400)
    assert server.get("/models/tiny").headers["etag"] == before


@pytest.mark.parametrize(
    "document", [{"trial": {}}, {"state": "ready"}, {"digest": "0" * 64}, {"golden": []}, {"parent": "x"}]
)
def test_what_may_not_be_set_on_a_version_is_refused(server, document):
    refused(patch(server, "/models/tiny/versions/1", json=document), 400, 404)


def test_every_route_of_the_interface_names_a_query_parameter_that_it_does_not_have(server):
    tried = 0
    for path, operations in server.app.openapi()["paths"].items():
        for method, operation in operations.items():
            if not path.startswith("/api/v1/"):
                continue
            declared = [item["name"] for item in operation.get("parameters", ()) if item["in"] == "query"]
            target = re.sub(r"\{[a-z_]+\}", "nothing", path)
            document = refused(server.client.request(method, target, params={"limti": "1"}), 400)
            assert document["code"] == "query.unknown", (method, path)
            assert "“limti”" in document["detail"]
            assert all(name in document["hint"] for name in declared), (method, path, document)
            tried += 1
    assert tried > 40
    assert "Did you mean “limit”?" in refused(server.get("/models", params={"limti": "1"}), 400)["hint"]
    assert server.get("/models", params={"limit": "1", "filter": "tiny"}).status_code == 200


def test_a_route_says_that_a_query_parameter_is_unknown_only_to_callers_who_may_use_it(server):
    as_viewer = {"Authorization": "Bearer viewer"}
    refused(server.post("/models/tiny/promote", params={"limti": "1"}, headers=as_viewer), 403)


@pytest.mark.parametrize(
    ("path", "document", "field", "near"),
    [
        ("/api/v1/jobs", {"ref": "tiny", "benchmrk": {}}, "“benchmrk”", "benchmark"),
        ("/api/v1/jobs", {"ref": "tiny", "benchmark": {"duration": 1}}, "“duration” in “benchmark”", "duration_s"),
        ("/api/v1/models/tiny/benchmarks", {"verison": "1"}, "“verison”", "version"),
        ("/api/v1/models/tiny/benchmarks", {"spec": {"feed": {"sed": 1}}}, "“sed” in “spec.feed”", "seed"),
        ("/api/v1/models/tiny/promote", {"versoin": 1}, "“versoin”", "version"),
        ("/api/v1/models/tiny/versions/1/golden", {"feed": {"bacth": 1}}, "“bacth” in “feed”", "batch"),
        ("/model/benchmark", {"run": 1}, "“run”", "runs"),
        ("/model/batch", {"rows": [[1, 2, 3, 4]], "row": 1}, "“row”", "rows"),
    ],
)
def test_an_unknown_field_of_a_body_is_named(server, path, document, field, near):
    said = refused(server.client.post(path, json=document), 400)
    assert said["code"] == "request.unknown_field"
    assert field in said["detail"]
    assert f"Did you mean “{near}”?" in said["hint"]
    assert server.get("/jobs").json()["jobs"] == []


def test_a_body_beyond_the_limit_of_documents_is_refused(server):
    large = json.dumps({"description": "x" * (1 << 20)})
    refused(patch(server, "/models/tiny", content=large, headers={"Content-Type": "application/json"}), 413)


def test_a_path_on_the_server_is_no_model(server, tmp_path):
    file = tmp_path / "secret.onnx"
    file.write_bytes(doubled())
    for text in (str(file), f"file://{file}", "./tiny.onnx"):
        refused(server.client.get(f"/api/v1/models/{quoted(text)}"), 400, 404)
        refused(server.post("/models/tiny/versions", params={"parent": text}, content=doubled(9)), 400, 404)
        refused(server.post("/models/tiny/versions/1/golden/verify", json={"against": text}), 400, 404)
        refused(server.post("/models", json={"name": "x", "path": text}), 400)


@pytest.mark.parametrize(
    "asked",
    [
        {"inputs": {"nope": [1]}},
        {"inputs": {"x": "text"}},
        {"inputs": {"x": [[1, 2], [3]]}},
        {"inputs": {"x": [[1, 2, 3]]}},
        {"inputs": "/etc/passwd"},
        {"name": "../x"},
        {"rtol": -1},
        {"feed": {"batch": -1}},
        {"feed": {"dims": {"batch": 2**62}}},
        {"outputs": {"y": [[9, 9, 9]]}},
    ],
)
def test_golden_outputs_that_do_not_fit_are_refused(server, asked):
    answer = server.post("/models/tiny/versions/1/golden", json=asked)
    document = refused(answer, 400, 409, 422)
    assert str(server.home) not in json.dumps(document)
    assert server.get("/models/tiny/versions/1/golden").json()["golden"] == []


def test_a_method_that_is_not_there_and_an_override_change_nothing(server):
    before = server.get("/models/tiny").headers["etag"]
    assert server.client.request("DELETE", "/api/v1/models").status_code == 405
    override = server.get("/models/tiny", headers={"X-HTTP-Method-Override": "DELETE"})
    assert (override.status_code, override.headers["etag"]) == (200, before)
    assert server.client.get("/api/v1/models/tiny?_method=DELETE").status_code == 400
    assert server.get("/models/tiny").headers["etag"] == before


def test_a_missing_file_is_told_without_its_path(server):
    digest = server.get("/models/tiny").json()["latest"]["digest"]
    blob = server.workbench.artifacts.blob_path(digest)
    aside = blob.with_name("aside")
    blob.rename(aside)
    try:
        for path in ("artifact", "graph", "layers"):
            answer = server.get(f"/models/tiny/versions/1/{path}")
            document = refused(answer, 503)
            assert document["code"].startswith("artifact.")
            assert str(server.home) not in answer.text
    finally:
        aside.rename(blob)


def test_paths_of_this_machine_are_cut_out_of_messages(server):
    home = str(server.home)
    assert home not in without_paths(f"Cannot open {home}/blobs/x.onnx.")
    assert without_paths("Reading /etc/ssl/key.pem failed") == "Reading …/key.pem failed"
    assert without_paths("GET /api/v1/models lists the models.") == "GET /api/v1/models lists the models."
    assert without_paths("node “/layer1/conv1/Conv” fails") == "node “/layer1/conv1/Conv” fails"


def test_the_server_still_works(server):
    assert isinstance(server.client, httpx.Client)
    assert server.get("/models/tiny").status_code == 200
