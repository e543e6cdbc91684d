"""The short routes, documents, metrics, and starting up."""

import re
import subprocess
import sys

import httpx
import pytest
from server_process import ENVIRONMENT, SCRIPT, infer_body, request, running

pytestmark = pytest.mark.xdist_group("server")


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url) as client:
        yield client


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": {"x": [[1, 2, 3, 4]]}},
        {"inputs": {"x": [1, 2, 3, 4]}},
        {"inputs": [[1, 2, 3, 4]]},
        {"data": [[1, 2, 3, 4]]},
        {"data": [1, 2, 3, 4]},
        {"data": {"x": [[1, 2, 3, 4]]}},
        {"x": [[1, 2, 3, 4]]},
        [[1, 2, 3, 4]],
        [1, 2, 3, 4],
    ],
)
def test_predict_takes_every_short_form(http, body):
    document = http.post("/predict", json=body).json()
    assert [len(row) for row in document["outputs"]["y"]] == [3]
    assert document["latency_ms"] > 0


def test_predict_takes_several_rows_flat_or_nested(http):
    nested = http.post("/predict", json=[[1, 2, 3, 4], [4, 3, 2, 1]]).json()["outputs"]
    assert http.post("/predict", json=[1, 2, 3, 4, 4, 3, 2, 1]).json()["outputs"] == nested


@pytest.mark.parametrize(
    "body", [{}, {"inputs": {"y": [1]}}, [1, 2, 3], {"data": None}, {"data": "x"}, "x", [[]], None]
)
def test_predict_answers_problems_in_their_standard_form(http, body):
    reply = http.post("/predict", json=body)
    assert reply.status_code == 400
    assert reply.headers["content-type"] == "application/problem+json"
    document = reply.json()
    assert document["status"] == 400
    assert document["code"]
    assert document["detail"]
    assert document["hint"]


def test_info_and_schema_describe_the_default_model(http):
    info = http.get("/model/info").json()
    assert (info["name"], info["version"]) == ("tiny", "1")
    assert info["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 4], "kind": "tensor"}]
    schema = http.get("/model/schema").json()
    assert schema["request"]["$defs"]["predict"]["properties"]["inputs"]["required"] == ["x"]


def test_the_example_of_the_schema_is_a_request_that_works(http):
    import jsonschema

    schema = http.get("/model/schema").json()
    for form, path in (("predict", "/predict"), ("open_inference", "/v2/models/tiny/infer")):
        jsonschema.validate(schema["examples"][form], schema["request"])
        reply = http.post(path, json=schema["examples"][form])
        assert reply.status_code == 200
        jsonschema.validate(reply.json(), schema["response"])


def test_the_root_and_health_say_where_to_go(http):
    root = http.get("/").json()
    assert all(http.get(root["links"][name]).status_code == 200 for name in ("docs", "openapi", "health", "metrics"))
    assert http.get("/health").json() == {"status": "healthy", "ready": True, "models": 16}


def test_unknown_paths_are_problems_outside_and_errors_inside_of_the_protocol(http):
    reply = http.get("/nothing")
    assert (reply.status_code, reply.json()["code"]) == (404, "http.not_found")
    assert reply.headers["content-type"] == "application/problem+json"
    assert set(http.get("/v2/nothing").json()) == {"error"}


def test_the_documentation_loads_nothing_from_elsewhere(http):
    for page in ("/docs", "/redoc"):
        reply = http.get(page)
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        links = re.findall(r'(?:src|href|spec-url)="([^"]+)"', reply.text)
        assert len(links) >= 3
        for link in links:
            assert link.startswith("/")
            assert http.get(link).status_code == 200
    for name in ("..%2fcore.py", "core.py", "%00"):
        assert http.get(f"/docs/assets/{name}").status_code == 404


def test_openapi_lists_the_routes_with_an_example(http):
    document = http.get("/openapi.json").json()
    assert {"/predict", "/v2/models/{model}/infer", "/metrics", "/v2/repository/index"} <= set(document["paths"])
    body = document["paths"]["/v2/models/{model}/infer"]["post"]["requestBody"]["content"]["application/json"]
    assert http.post("/v2/models/tiny/infer", json=body["example"]).status_code == 200


SAMPLE = re.compile(r'[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? -?[0-9.e+-]+')


def test_metrics_are_valid_and_count(http):
    def value(name):
        return float(re.search(rf"^{re.escape(name)} (\S+)$", http.get("/metrics").text, re.MULTILINE)[1])

    http.post("/predict", json=[1, 2, 3, 4])
    name = 'qsml_inference_requests_total{model="tiny",version="1",code="200"}'
    before = value(name)
    http.post("/predict", json=[1, 2, 3, 4])
    assert value(name) == before + 1
    reply = http.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in reply.text.splitlines() if not line.startswith("#")]
    assert all(SAMPLE.fullmatch(line) for line in lines), [line for line in lines if not SAMPLE.fullmatch(line)]
    counts = [
        int(found) for found in re.findall(r'request_duration_seconds_bucket\{model="tiny".*?\} (\d+)', reply.text)
    ]
    assert counts == sorted(counts)
    assert "nv_inference_request_success" in reply.text


def test_only_rows_that_succeeded_count_as_inferences(http):
    def counted():
        (found,) = http.get("/v2/models/lookup/stats").json()["model_stats"]
        return found["inference_count"], found["inference_stats"]["fail"]["count"]

    def ask(index):
        tensor = {"name": "i", "shape": [1], "datatype": "INT64", "data": [index]}
        return http.post("/v2/models/lookup/infer", json={"inputs": [tensor]}).status_code

    (items, failed) = counted()
    assert [ask(3), ask(99)] == [200, 400]
    assert counted() == (items + 1, failed + 1)


def test_head_is_answered_like_get_without_a_body(http):
    for path in ("/health", "/v2/models/tiny", "/metrics"):
        reply = http.head(path)
        assert (reply.status_code, reply.content) == (200, b"")
        assert int(reply.headers["content-length"]) > 0
    assert http.head("/predict").status_code == 405


def test_the_announced_command_works(server):
    assert "tiny version 1, default" in server.announcement
    command = next(line for line in server.announcement.splitlines() if line.startswith("Try"))[9:]
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    if done.returncode == 127:
        pytest.skip("no curl here")
    assert '"outputs"' in done.stdout


def test_the_default_model_is_the_first_or_the_named_one(model_paths, tmp_path):
    with running([model_paths["lookup"], model_paths["tiny"]], tmp_path / "log") as server:
        assert httpx.get(f"{server.url}/model/info").json()["name"] == "lookup"
        with server.connect() as connection:
            connection.send(request("/v2/models/tiny/infer", infer_body([[1, 2, 3, 4]])))
            assert connection.reply().status == 200


def refusal(*arguments):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )
    assert done.returncode != 0
    return done.stderr


def test_a_taken_port_and_a_bad_default_are_named(server, model_paths):
    assert f"Port {server.port} is taken" in refusal(f'{{"port":{server.port}}}', model_paths["tiny"])
    assert "Unknown model" in refusal('{"port":0,"default_model":"nope"}', model_paths["tiny"])
    assert "served as tiny version 1" in refusal('{"port":0}', model_paths["tiny"], model_paths["tiny"])


def test_serving_loads_neither_the_terminal_interface_nor_onnx(tmp_path):
    code = (
        "import sys, quickserveml_tui.server.run, quickserveml_tui.server.protocol;"
        "print([name for name in ('textual', 'rich', 'onnx', 'tinydb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.strip() == "[]"


def test_the_options_import_nothing_heavy():
    code = (
        "import sys, quickserveml_tui.server.options;"
        "print([name for name in ('numpy', 'fastapi', 'uvicorn', 'orjson', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.strip() == "[]"
