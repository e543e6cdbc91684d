"""The OpenAPI document against the real server, hot path and all: what it says can happen is all that happens."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import httpx
import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from live_server import LiveServer
from schemathesis.checks import not_a_server_error
from schemathesis.generation.modes import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from server_models import save, tiny
from server_process import DEADLINE_S
from work_server import WorkServer

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.server.permissions import routes_of
from quickserveml_tui.services.home import open_workbench

ROOT = Path(__file__).parents[2]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ENDLESS = ("/api/v1/monitor/events",)
"""Streams that end with the server only; they have tests of their own."""
STARTS_PROCESSES = ("/model/benchmark", "/api/v1/jobs", "/api/v1/models/{model_id}/benchmarks")
UNAVAILABLE_IS_FINE = (503,)
"""An answer that is documented and says when to come back, not a failure of the server."""
pytestmark = pytest.mark.xdist_group("openapi")


HOT = ("/predict", "/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer")
FEW, MANY = 6, 150
"""Requests per operation, in every run of the suite and in the long form."""


class Served:
    """`quickserveml serve tiny` as a process, what there is on it, and what it answered."""

    def __init__(self, folder):
        save(tiny(), folder / "tiny.onnx")
        with contextlib.closing(open_workbench(folder / "home")) as workbench:
            added = workbench.catalog.add(AddRequest(str(folder / "tiny.onnx"), name="tiny", alias="prod"))
        self.log = folder / "server.log"
        self.process = LiveServer(folder / "home", self.log, "tiny")
        self.url = f"http://127.0.0.1:{self.process.port}"
        self.client = httpx.Client(base_url=self.url, timeout=DEADLINE_S)
        self.session = requests.Session()
        self.seen = {}
        job, benchmark = self._begun("benchmarks", json={"spec": {"duration_s": 0.1, "warmup_s": 0}})
        _job, batch = self._begun("batches", content=b"x_0,x_1,x_2,x_3\n1,2,3,4\n")
        self.known = {
            "model_id": added.model.id,  # a rename takes nothing away
            "model": "tiny",
            "version": "1",
            "alias": "prod",
            "job_id": job,
            "benchmark_id": benchmark,
            "batch_id": batch,
        }

    def _begun(self, kind, **body):
        """Ids of a job that has ended and of its result."""
        started = self.client.post(f"/api/v1/models/tiny/{kind}", **body).json()
        job = started["job"]["id"]
        with self.client.stream("GET", f"/api/v1/jobs/{job}/events") as events:
            for _ in events.iter_lines():
                pass
        return job, started["result_id"]

    def close(self):
        self.client.close()
        self.session.close()
        assert self.process.end() == 0
        assert "Traceback" not in self.log.read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("openapi"))
    try:
        yield served
    finally:
        if served.process.process.poll() is None:
            served.close()


@pytest.fixture(scope="module")
def document(server):
    return server.client.get("/openapi.json").json()


@pytest.fixture(scope="module")
def api_schema(server, document):
    return schemathesis.openapi.from_dict(document)


def _aimed(case, number, known):
    """Two of three cases are about things that there are; what starts a measurement asks for a short one."""
    keeps = case.method != "DELETE" or not case.path.endswith(("/{model_id}", "/versions/{version}"))
    for name in case.path_parameters or {}:
        if name in known and number % 3 and keeps:
            case.path_parameters[name] = known[name]
    example = case.operation.definition.raw.get("requestBody", {}).get("content", {}).get("application/json", {})
    if case.path in HOT and number % 2 and "example" in example:
        case.body, case.media_type = example["example"], "application/json"
    if case.path in STARTS_PROCESSES and isinstance(case.body, dict):
        short = {"duration_s": 0.1, "warmup_s": 0, "max_runs": 10}
        if case.path == "/api/v1/jobs":
            case.body |= {"ref": "tiny", "benchmark": short} if number % 3 else {}
        elif case.path == "/model/benchmark":
            case.body |= {"duration_s": 0.1, "warmup_s": 0, "runs": 10}
        else:
            case.body["spec"] = short


def _takes_away(operation):
    """Operations after which there is less to try come last."""
    return operation.method == "delete", operation.path.endswith("/unload")


def _run(api_schema, server, examples, mode=GenerationMode.POSITIVE):
    tried = set()
    problems = []
    server.client.post("/v2/repository/models/tiny/load").raise_for_status()
    operations = [found.ok() for found in api_schema.get_all_operations()]
    for operation in sorted(operations, key=_takes_away):
        if operation.path in ENDLESS:
            continue
        few = 3 if operation.path in STARTS_PROCESSES and operation.method == "post" else examples
        few = 4 * examples if operation.path in HOT else few
        tried.add((operation.method.upper(), operation.path))
        problems += _try_operation(operation, server, few, mode)
    assert not problems, "\n\n".join(problems[:20])
    return tried


def _try_operation(operation, server, examples, mode):
    problems, count = [], 0

    @hypothesis.seed(7)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def attempt(case):
        nonlocal count
        count += 1
        _aimed(case, count, server.known)
        response = case.call(base_url=server.url, session=server.session, timeout=60)
        server.seen.setdefault((operation.method.upper(), operation.path), set()).add(response.status_code)
        checks = [
            check for check in CHECKS if response.status_code not in UNAVAILABLE_IS_FINE or check is not CHECKS[0]
        ]
        try:
            case.validate_response(response, checks=checks)
        except BaseExceptionGroup as group:
            problems.append(
                f"{operation.method.upper()} {operation.path}: {response.status_code} {group.exceptions[0]}"[:1500]
            )

    with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing of a route that takes nothing can be wrong
        attempt()
    return problems[:2]


@pytest.mark.timeout(180)
def test_no_request_that_the_document_describes_is_answered_otherwise_than_it_says(api_schema, server, document):
    tried = _run(api_schema, server, FEW)
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
        if path not in ENDLESS
    }
    assert tried == described
    assert all(200 in server.seen["POST", path] for path in HOT), server.seen


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_requests_that_the_document_describes_are_answered_as_it_says(api_schema, server):
    _run(api_schema, server, MANY)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_requests_that_break_what_the_document_says_are_refused_as_it_says(api_schema, server):
    server.seen.clear()
    _run(api_schema, server, MANY, GenerationMode.NEGATIVE)
    assert all(400 in server.seen["POST", path] for path in HOT), server.seen


def test_every_route_is_in_the_document_with_every_status_of_the_connection(tmp_path, document):
    described = document["paths"]
    server = WorkServer(tmp_path)
    server.workbench.close()
    for path, route in routes_of(server.app):
        if getattr(route, "include_in_schema", False):
            assert path in described, path
    for path, operations in described.items():
        for method, operation in operations.items():
            assert {"400", "401", "403", "408", "413", "429", "431", "503"} <= set(operation["responses"]), (
                method,
                path,
            )
            assert any(status.startswith("2") for status in operation["responses"]), (method, path)


def test_the_committed_document_is_the_one_that_the_server_gives():
    script = ROOT / "scripts" / "make_openapi.py"
    checked = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert json.loads((ROOT / "docs" / "contract" / "openapi.json").read_text())["openapi"].startswith("3.1")
