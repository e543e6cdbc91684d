"""Jobs, benchmarks, batches and the routes of the default model that do work, over real processes and a real socket."""

from __future__ import annotations

import asyncio
import json
import os
from types import SimpleNamespace

import pytest
from server_process import eventually
from work_server import DEADLINE_S, work_server

from quickserveml_tui.core.errors import UnauthenticatedError
from quickserveml_tui.server.access import Anonymous
from quickserveml_tui.server.api.jobs import _events
from quickserveml_tui.server.events import Streams

SPEC = {"spec": {"duration_s": 0.2, "warmup_s": 0.05}}
ROWS = "\n".join(["x_0,x_1,x_2,x_3,label", *["1,2,3,4,0"] * 5]).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with work_server(tmp_path_factory.mktemp("work")) as running:
        yield running


@pytest.fixture(scope="module")
def benchmark(server):
    """A benchmark that was started and has ended: the reply and the job."""
    reply = server.post("/models/tiny/benchmarks", json=SPEC)
    assert reply.status_code == 202, reply.text
    return reply, server.ended(reply.json()["job"]["id"])


@pytest.fixture(scope="module")
def batch(server):
    reply = server.post("/models/tiny/batches?batch_size=2", content=ROWS)
    assert reply.status_code == 202, reply.text
    return reply.json(), server.ended(reply.json()["job"]["id"])


def events_of(server, path, **headers):
    found, name, number = [], "", ""
    with server.client.stream("GET", f"/api/v1{path}", headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            kind, _, text = line.partition(": ")
            if kind == "event":
                name = text
            elif kind == "id":
                number = text
            elif kind == "data":
                found.append((name, json.loads(text), number))
                number = ""
    return found


def problem(reply, status, code):
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == code


# ---- benchmarks -----------------------------------------------------------------------------------------------------


def test_a_benchmark_is_a_job_that_leaves_a_result_under_the_id_that_was_told(server, benchmark):
    reply, job = benchmark
    assert reply.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert (job["state"], job["origin"], job["result_id"]) == ("done", "server", reply.json()["result_id"])
    assert job["fraction"] == 1  # also where it ended before its time, with enough runs
    shown = server.get(f"/models/tiny/benchmarks/{job['result_id']}").json()
    assert shown["summary"]["n"] > 0
    assert shown["version"] == 1
    listed = server.get("/models/tiny/benchmarks").json()["benchmarks"]
    assert shown in listed
    assert server.get(f"/models/{shown['model']}/benchmarks").json()["benchmarks"] == listed


def test_no_document_names_a_folder_of_the_server(server, benchmark, batch):
    for path in ("/jobs", "/models/tiny/benchmarks", "/models/tiny/batches", "/monitor", "/server"):
        assert str(server.home.parent) not in server.get(path).text


def test_benchmarks_come_in_pages(server, benchmark):
    second = server.post("/models/tiny/benchmarks", json=SPEC | {"version": "1"}).json()
    server.ended(second["job"]["id"])
    first_page = server.get("/models/tiny/benchmarks?limit=1").json()
    assert [item["id"] for item in first_page["benchmarks"]] == [second["result_id"]]
    rest = server.get("/models/tiny/benchmarks", params={"page_token": first_page["next_page_token"]}).json()
    assert benchmark[1]["result_id"] in [item["id"] for item in rest["benchmarks"]]
    assert second["result_id"] not in [item["id"] for item in rest["benchmarks"]]
    assert server.delete(f"/models/tiny/benchmarks/{second['result_id']}").status_code == 204
    problem(server.get(f"/models/tiny/benchmarks/{second['result_id']}"), 404, "benchmark.not_found")


def test_a_start_that_comes_once_more_under_its_key_starts_nothing(server):
    body = {"ref": "tiny", "benchmark": {"max_runs": 5, "warmup_s": 0, "duration_s": 0.05}}
    headers = {"Idempotency-Key": "start-1"}
    first, again = (server.client.post("/api/v1/jobs", json=body, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["location"] == again.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    other = server.client.post("/api/v1/jobs", json=body | {"ref": "tiny@1"}, headers=headers)
    problem(other, 422, "idempotency.mismatch")
    rows = "x_0,x_1,x_2,x_3\n1,2,3,4\n"
    path, headers = "/api/v1/models/tiny/batches", {"Idempotency-Key": "batch-1"}
    first, again = (server.client.post(path, content=rows, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202), (first.text, again.text)
    assert first.json()["job"]["id"] == again.json()["job"]["id"]
    problem(server.client.post(path, content=rows + "1,2,3,4\n", headers=headers), 422, "idempotency.mismatch")


@pytest.mark.parametrize("token", ["x", "AAAA", "../..", "a" * 399])
def test_a_forged_page_token_is_refused(server, token):
    problem(server.get("/jobs", params={"page_token": token}), 400, "page.token")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/models/none/benchmarks", {}, 404, "model.not_found"),
        ("/models/x.onnx/benchmarks", {}, 404, "model.not_found"),
        ("/models/tiny@1/benchmarks", {}, 404, "model.not_found"),
        ("/models/tiny/benchmarks", {"version": "9"}, 404, "version.not_found"),
        ("/models/tiny/benchmarks", {"version": "/etc/x.onnx"}, 400, "version.invalid"),
        ("/models/tiny/benchmarks", {"version": "1#node"}, 400, "version.invalid"),
        ("/models/tiny/benchmarks", {"spec": {"duration_s": -1}}, 400, "usage.benchmark"),
        ("/models/tiny/benchmarks", {"spec": {"duration_s": "long"}}, 400, "request.invalid"),
        ("/models/tiny/benchmarks", [], 400, "request.invalid"),
        ("/jobs", {"ref": "../../x.onnx"}, 404, "model.not_found"),
        ("/jobs", {"ref": "tiny@../x.onnx"}, 400, "version.invalid"),
        ("/jobs", {"ref": "tiny", "kind": "batch"}, 400, "request.invalid"),
    ],
)
def test_what_cannot_be_measured_is_refused_and_starts_no_job(server, path, body, status, code):
    before = server.get("/jobs").json()
    problem(server.post(path, json=body), status, code)
    assert server.get("/jobs").json() == before


# ---- jobs and their events ------------------------------------------------------------------------------------------


def test_events_tell_of_frames_and_progress_and_end_with_the_job(server, benchmark):
    _, job = benchmark
    found = events_of(server, f"/jobs/{job['id']}/events")
    assert {name for name, *_ in found} == {"frame", "progress", "end"}
    assert found[-1][0] == "end"
    assert found[-1][1] == job
    measured = [document for name, document, _ in found if name == "frame" and document["phase"] == "measuring"]
    assert measured
    assert all(item["latencies_ms"] for item in measured)


def test_events_go_on_behind_the_last_one_that_was_seen(server, benchmark):
    _, job = benchmark
    everything = events_of(server, f"/jobs/{job['id']}/events")
    last = everything[-1][2]
    assert [name for name, *_ in events_of(server, f"/jobs/{job['id']}/events", **{"Last-Event-ID": last})] == ["end"]
    attempt, _, _ = last.partition("-")
    for strange in (f"{int(attempt) + 1}-5", "x", "-1--1", "9" * 60):
        again = events_of(server, f"/jobs/{job['id']}/events", **{"Last-Event-ID": strange})
        assert len(again) == len(everything)


def test_a_job_is_asked_to_stop_first_and_forgotten_once_it_has_ended(server):
    job = server.post("/jobs", json={"ref": "tiny@1", "benchmark": {"duration_s": 60}}).json()
    problem(server.get("/jobs/job-000000000000"), 404, "job.not_found")
    assert job["id"] in [item["id"] for item in server.get("/jobs?state=queued&state=running").json()["jobs"]]
    assert server.delete(f"/jobs/{job['id']}").status_code == 202
    assert server.ended(job["id"])["state"] == "cancelled"
    assert server.delete(f"/jobs/{job['id']}").status_code == 200
    problem(server.get(f"/jobs/{job['id']}"), 404, "job.not_found")


def test_a_head_request_for_events_does_not_wait_for_them(server, benchmark):
    reply = server.client.head(f"/api/v1/jobs/{benchmark[1]['id']}/events")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/event-stream")


def test_streams_are_bounded_and_one_that_is_left_makes_room(server):
    opened = []
    try:
        while len(opened) < 200:
            stream = server.client.stream("GET", "/api/v1/monitor/events?interval=60")
            reply = stream.__enter__()
            opened.append(stream)
            if reply.status_code != 200:
                reply.read()
                problem(reply, 503, "events.too_many")
                assert reply.headers["retry-after"]
                break
        assert len(opened) == 65
    finally:
        for stream in opened:
            stream.__exit__(None, None, None)
    for _ in range(1000):
        with server.client.stream("GET", "/api/v1/monitor/events?interval=60") as reply:
            if reply.status_code == 200:
                return
    raise AssertionError("no stream became free")


async def test_who_connects_while_a_job_is_begun_anew_gets_all_of_the_new_attempt_and_nothing_twice(server):
    jobs = server.workbench.jobs
    first = jobs.start(_request())
    eventually(lambda: jobs.events(first.id).frames, "frames of the first attempt")
    jobs.cancel(first.id)
    ended = eventually(lambda: None if (now := jobs.get(first.id)).live else now, "the end of the first attempt")
    seen = jobs.events(first.id).offset
    context = SimpleNamespace(workbench=server.workbench)
    stream = _events(context, ended, f"{ended.attempt}-{seen}")
    # The route has looked the job up, and the stream is about to look for events: now it is begun anew.
    assert jobs.resume(first.id).attempt == ended.attempt + 1
    found = [await asyncio.wait_for(anext(stream), DEADLINE_S)]
    assert b"event: end" not in found[0]
    jobs.cancel(first.id)
    found += [part async for part in stream]
    assert b"event: end" in found[-1]
    assert sum(part.count(b"event: end") for part in found) == 1
    numbers = [part.partition(b"\n")[0] for part in found[:-1] if part.startswith(b"id: ")]
    assert len(set(numbers)) == len(numbers)
    last = found[-1].partition(b"\n")[0].removeprefix(b"id: ").decode()
    assert [name for name, *_ in events_of(server, f"/jobs/{first.id}/events", **{"Last-Event-ID": last})] == ["end"]


async def test_an_event_that_was_waited_for_while_the_key_ended_is_not_sent():
    revoked = []

    async def events():
        yield b"one"
        revoked.append(True)
        yield b"two"

    class Welcome:
        def check(self):
            if revoked:
                raise UnauthenticatedError("This key was revoked.", code="auth.revoked")

    found = [part async for part in Streams(lambda: False)._bounded(events(), Welcome())]
    assert found[:2] == [b": connected\n\n", b"one"]
    assert len(found) == 3
    assert b"auth.revoked" in found[2]


async def test_a_stream_ends_when_the_server_drains():
    draining = []
    streams = Streams(lambda: bool(draining))

    async def events():
        yield b"one"
        draining.append(True)
        yield b"two"

    class Welcome:
        def check(self):
            """The key holds."""

    found = [part async for part in streams._bounded(events(), Welcome())]
    assert found[:2] == [b": connected\n\n", b"one"]
    assert found[-1].startswith(b"event: drain")


# ---- batches --------------------------------------------------------------------------------------------------------


def test_uploaded_rows_are_run_and_their_predictions_can_be_downloaded(server, batch):
    started, job = batch
    assert job["state"] == "done"
    shown = server.get(f"/batches/{started['result_id']}").json()
    assert (shown["rows"], shown["failed"], shown["state"], shown["job_id"]) == (5, 0, "done", job["id"])
    assert job["fraction"] == 1
    assert shown["metrics"]["classes"]
    whole = server.get(f"/batches/{started['result_id']}/output")
    lines = whole.text.splitlines()
    tag = {"If-Range": whole.headers["etag"]}
    part = server.get(f"/batches/{started['result_id']}/output", headers={"Range": "bytes=5-", **tag})
    assert (part.status_code, part.content) == (206, whole.content[5:])
    beyond = server.get(f"/batches/{started['result_id']}/output", headers={"Range": f"bytes={len(whole.content)}-"})
    problem(beyond, 416, "range.invalid")
    assert beyond.headers["content-range"] == f"bytes */{len(whole.content)}"
    assert [json.loads(line)["row"] for line in lines] == [1, 2, 3, 4, 5]
    assert shown in server.get("/models/tiny/batches").json()["batches"]


def test_a_batch_whose_data_comes_slowly_is_not_swept_by_the_next_one(server):
    before = set(server.home.glob("uploads/*/data.csv"))
    swept = []

    def slowly():
        yield ROWS[:10]
        come = eventually(
            lambda: [
                item for item in set(server.home.glob("uploads/*/data.csv")) - before if item.stat().st_size == 10
            ],
            "the first part",
        )
        folder = come[0].parent
        for path in (come[0], folder):
            os.utime(path, (1, 1))  # as if it had come hours ago
        other = server.post("/models/tiny/batches?output=false", content=ROWS).json()
        server.ended(other["job"]["id"])
        swept.append(not folder.exists())
        yield ROWS[10:]

    started = server.post("/models/tiny/batches", content=slowly())
    assert (started.status_code, swept) == (202, [False])
    assert server.ended(started.json()["job"]["id"])["state"] == "done"


def test_a_batch_that_is_deleted_takes_data_and_predictions_along(server):
    started = server.post("/models/tiny/batches?output=false", content=ROWS).json()
    batch_id = started["result_id"]
    assert server.get(f"/batches/{batch_id}").json()["id"] == batch_id
    server.ended(started["job"]["id"])
    problem(server.get(f"/batches/{batch_id}/output"), 404, "batch.no_output")
    folders = set((server.home / "uploads").iterdir())
    assert server.delete(f"/batches/{batch_id}").status_code == 204
    assert len(folders - set((server.home / "uploads").iterdir())) == 1
    problem(server.get(f"/batches/{batch_id}"), 404, "batch.not_found")
    problem(server.get(f"/jobs/{started['job']['id']}"), 404, "job.not_found")


def test_data_that_does_not_fit_fails_the_job_and_says_why(server):
    started = server.post("/models/tiny/batches?format=npz", content=b"no archive").json()
    assert server.ended(started["job"]["id"])["state"] == "failed"
    shown = server.get(f"/batches/{started['result_id']}").json()
    assert shown["state"] == "failed"
    assert shown["error"]["message"]
    assert server.delete(f"/batches/{started['result_id']}").status_code == 204


@pytest.mark.parametrize(
    ("query", "content", "code"),
    [
        ("", b"", "data.empty"),
        ("format=exe", ROWS, "request.invalid"),
        ("batch_size=0", ROWS, "request.invalid"),
        ("version=../x", ROWS, "version.invalid"),
    ],
)
def test_an_upload_that_cannot_be_run_leaves_nothing_behind(server, query, content, code):
    before = set((server.home / "uploads").glob("*"))
    problem(server.post(f"/models/tiny/batches?{query}", content=content), 400, code)
    assert set((server.home / "uploads").glob("*")) == before


def test_an_upload_beyond_the_limit_is_refused_and_removed(tmp_path):
    with work_server(tmp_path, max_upload_bytes=1024) as server:
        problem(server.post("/models/tiny/batches", content=b"x" * 5000), 413, "upload.too_large")
        assert list((server.home / "uploads").iterdir()) == []


# ---- the default model ----------------------------------------------------------------------------------------------


def test_rows_are_answered_one_by_one_and_a_bad_one_fails_alone(server):
    rows = [[1, 2, 3, 4], "text", {"inputs": {"x": [1, 2, 3, 4]}}, [1], *[[0, 0, 0, 0]] * 200]
    for body in (rows, {"rows": rows}):
        result = server.client.post("/model/batch", json=body).json()
        assert (result["rows"], result["failed"]) == (204, 2)
        assert result["elapsed_ms"] == round(result["elapsed_ms"], 3)
        assert [item["row"] for item in result["results"]] == list(range(1, 205))
        assert result["results"][0]["outputs"] == result["results"][2]["outputs"]
        assert [item["row"] for item in result["results"] if item["error"]] == [2, 4]
        assert result["results"][3]["error"]["code"] == "data.shape"


@pytest.mark.parametrize("body", [[], {}, {"rows": {}}, 1, [[1]] * 1001])
def test_a_body_without_a_bounded_list_of_rows_is_refused(server, body):
    problem(server.client.post("/model/batch", json=body), 400, "request.invalid")


def test_the_default_model_is_measured_and_nothing_is_kept(server):
    before = server.get("/models/tiny/benchmarks").json()
    reply = server.client.post("/model/benchmark", json={"runs": 50, "warmup_s": 0.05})
    assert reply.json()["summary"]["n"] == 50
    assert server.get("/models/tiny/benchmarks").json() == before
    problem(server.client.post("/model/benchmark", json={"duration_s": 61}), 400, "usage.benchmark")


def test_without_a_home_the_default_model_is_measured_and_the_rest_says_what_is_missing(tmp_path):
    with work_server(tmp_path, with_home=False) as server:
        assert server.client.post("/model/benchmark", json={"runs": 5, "warmup_s": 0}).json()["model"] == "tiny"
        problem(server.get("/jobs"), 404, "catalog.none")
        assert not server.get("/server").json()["has_home"]


# ---- who may see what -----------------------------------------------------------------------------------------------


class OnlyOthers:
    """Everybody may everything, but on models of other names only."""

    version = 0

    def identify(self, headers):
        caller = Anonymous()
        caller.allows = lambda permission, model="": model != "tiny"
        return caller


def test_what_is_about_a_model_of_others_is_not_there(tmp_path):
    with work_server(tmp_path, gatekeeper=OnlyOthers()) as server:
        record = server.workbench.jobs.start(_request())
        assert server.get("/jobs").json()["jobs"] == []
        problem(server.get(f"/jobs/{record.id}"), 404, "job.not_found")
        problem(server.delete(f"/jobs/{record.id}"), 404, "job.not_found")
        problem(server.get(f"/jobs/{record.id}/events"), 404, "job.not_found")
        problem(server.post("/models/tiny/benchmarks", json=SPEC), 404, "model.not_found")
        problem(server.post("/models/tiny/batches", content=ROWS), 404, "model.not_found")
        problem(server.get("/models/tiny/metrics"), 404, "model.unknown")
        snapshot = server.get("/monitor").json()
        assert snapshot["models"] == []
        assert "tiny" not in json.dumps(server.get("/server").json())
        assert 'model="tiny"' not in server.client.get("/metrics").text
        server.workbench.jobs.cancel(record.id)
        server.workbench.jobs.watch(record.id)


def _request():
    from quickserveml_tui.core.benchmarks import BenchmarkSpec
    from quickserveml_tui.core.job_records import JobKind, JobRequest

    return JobRequest(JobKind.BENCHMARK, "tiny@1", benchmark=BenchmarkSpec(duration_s=DEADLINE_S))
