"""What Prometheus and people are told: sums over all workers, valid for promtool, kept over time."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.parse
from pathlib import Path

import httpx
import pytest
from debian_prometheus import program
from work_server import DEADLINE_S, work_server

from quickserveml_tui.core.metric_history import between
from quickserveml_tui.core.monitoring import Distribution, ModelSnapshot, SlowRequest
from quickserveml_tui.server.exposition import Exposition, folded
from quickserveml_tui.services.metric_history import MetricRecorder

BODY = {"inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [1] * 8}]}
DOCUMENT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
QUERIES = tuple(DOCUMENT.split("```promql\n")[1].split("\n```")[0].splitlines())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with work_server(tmp_path_factory.mktemp("metrics")) as running:
        for _ in range(3):
            assert running.client.post("/v2/models/tiny/infer", json=BODY).status_code == 200
        assert running.client.post("/v2/models/tiny/infer", json={"inputs": []}).status_code == 400
        other = running.counters[1].model(3)  # the second worker, as its own process would count
        for _ in range(5):
            other.answered(200, 2_000_000)
        other.ran(5, 10, 1_000_000)
        other.crashes = 1
        running.counters[1].pid = 2**22 + 1
        running.counters[1].connections = 4
        running.counters[1].auth_failures = 2
        running.counters[1].note_slow(SlowRequest(time.time(), "tiny", "1", 1.5, status=200, request_id="r1"))
        running.post("/jobs", json={"ref": "tiny", "benchmark": {"max_runs": 1, "warmup_s": 0}})
        yield running


def values(text):
    return {name: float(value) for name, value in re.findall(r"^([^#\s]\S*) (\S+)$", text, re.MULTILINE)}


def test_every_worker_counts(server):
    found = values(server.client.get("/metrics").text)
    labels = '{model="tiny",version="1"}'
    assert found['qsml_inference_requests_total{model="tiny",version="1",code="200"}'] == 8
    assert found['qsml_inference_requests_total{model="tiny",version="1",code="400"}'] == 1
    assert found[f"qsml_inference_request_duration_seconds_count{labels}"] == 8
    assert found['qsml_inference_request_duration_seconds_bucket{model="tiny",version="1",le="+Inf"}'] == 8
    assert found[f"qsml_inference_rows_total{labels}"] == 16
    assert found[f"nv_inference_request_success{labels}"] == 8
    assert found[f"nv_inference_request_failure{labels}"] == 1
    assert found[f"qsml_model_crashes_total{labels}"] == 1
    assert found['qsml_worker_restarts_total{worker="0"}'] == 2
    assert found['qsml_connections{worker="1"}'] == 4
    assert found["qsml_auth_failures_total"] == 2
    assert sum(count for name, count in found.items() if name.startswith("qsml_jobs{")) == 1


def test_families_have_one_head_and_buckets_ascend(server):
    text = server.client.get("/metrics").text
    for kind in ("HELP", "TYPE"):
        names = re.findall(rf"^# {kind} (\S+)", text, re.MULTILINE)
        assert len(names) == len(set(names))
    buckets = re.findall(r"^(\S+?)_bucket\{(.*?),?le=\"[^\"]*\"\} (\d+)$", text, re.MULTILINE)
    series = {}
    for name, labels, count in buckets:
        series.setdefault((name, labels), []).append(int(count))
    assert series
    assert all(counts == sorted(counts) for counts in series.values())


def test_the_document_lists_every_metric(server):
    names = set(re.findall(r"^# TYPE (\S+)", server.client.get("/metrics").text, re.MULTILINE))
    listed = set(re.findall(r"`((?:qsml|nv|process)_\w+)`", DOCUMENT))
    assert names <= listed, names - listed
    assert listed - names <= {name for name in listed if name.startswith(("nv_gpu_", "nv_cpu_utilization"))}


def test_strange_names_are_escaped():
    out = Exposition()
    out.family("a_total", "counter", "two\nlines \\ here").add(1, (("model", 'x"\\\n}'),))
    assert (
        out.text() == '# HELP a_total two\\nlines \\\\ here\n# TYPE a_total counter\na_total{model="x\\"\\\\\\n}"} 1\n'
    )


def test_coarse_buckets_count_what_the_fine_ones_did():
    fine = Distribution((0.0001, 0.0005, 0.00075, 0.001, 5.0), (1, 2, 3, 4, 5, 6), 1.0)
    assert folded(fine, (0.0005, 0.001, 10.0)) == (3, 10, 15, 21)


def test_promtool_takes_all_and_finds_fault_with_names_of_triton_only(server):
    tool = program("promtool")
    text = server.client.get("/metrics").text
    checked = subprocess.run(
        [tool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert "error while linting" not in checked.stderr
    complaints = [line for line in (checked.stdout + checked.stderr).splitlines() if line.strip()]
    assert all(line.startswith("nv_") for line in complaints), complaints
    own = "\n".join(line for line in text.splitlines() if not re.match(r"(# \w+ )?nv_", line)) + "\n"
    clean = subprocess.run(
        [tool, "check", "metrics"], input=own, capture_output=True, text=True, timeout=60, check=False
    )
    assert (clean.returncode, clean.stdout, clean.stderr) == (0, "", "")


@pytest.mark.slow
def test_a_real_prometheus_finds_series_for_every_query_of_the_dashboards(server, tmp_path):
    config = tmp_path / "prometheus.yml"
    target = server.url.removeprefix("http://")
    config.write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n"
        f"- job_name: qsml\n  static_configs: [{{targets: ['{target}']}}]\n"
    )
    with httpx.Client(timeout=DEADLINE_S) as http:
        import socket

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            missing = set(QUERIES)
            deadline = time.monotonic() + DEADLINE_S
            while missing and time.monotonic() < deadline:
                missing = {query for query in missing if not _series(http, port, query)}
            assert not missing
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


def _series(http, port, query):
    try:
        reply = http.get(f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(query)}")
    except httpx.TransportError:
        return []
    return reply.json()["data"]["result"] if reply.status_code == 200 else []


# ---- the monitor ----------------------------------------------------------------------------------------------------


def test_the_monitor_tells_of_all_workers_the_machine_and_the_slowest_requests(server):
    snapshot = server.get("/monitor").json()
    (model,) = snapshot["models"]
    assert model["codes"] == {"200": 8, "400": 1}
    assert sum(model["latency"]["counts"]) == 8
    assert len(model["latency"]["counts"]) == len(model["latency"]["bounds"]) + 1
    assert (snapshot["source"], snapshot["revision"], snapshot["ready"]) == ("quickserveml", 7, True)
    assert [item["index"] for item in snapshot["workers"]] == [0, 1]
    assert snapshot["memory_total_bytes"] > snapshot["memory_available_bytes"] > 0
    assert snapshot["slow"][0]["request_id"] == "r1"
    assert snapshot["gpus"] == []


def test_the_monitor_can_be_watched(server):
    seen = 0
    with server.client.stream("GET", "/api/v1/monitor/events?interval=0.25") as stream:
        for line in stream.iter_lines():
            seen += line == "event: snapshot"
            if seen == 2:
                break
    assert seen == 2
    assert server.get("/monitor/events?interval=0.1").status_code == 400


# ---- over time ------------------------------------------------------------------------------------------------------


def test_a_model_tells_how_its_versions_are_doing_by_name_and_by_id(server):
    found = server.get("/models/tiny/metrics").json()
    (version,) = found["versions"]
    assert (version["requests"], version["errors"], version["inferences"]) == (9, 1, 16)
    assert 0 < version["p50_ms"] <= version["p99_ms"]
    model_id = server.workbench.catalog.show("tiny").model.id
    assert server.get(f"/models/{model_id}/metrics").json()["versions"] == found["versions"]
    assert server.get("/models/none/metrics").status_code == 404


def test_what_happened_is_kept_by_the_minute_and_a_restart_goes_on(server):
    def snapshot(count, pending=0):
        latency = Distribution((0.001, 0.01), (count, 0, 0), count * 0.0005)
        return (ModelSnapshot("tiny", "1", codes={"200": count}, latency=latency, inferences=count, pending=pending),)

    taken = iter([snapshot(0), snapshot(60), snapshot(90), snapshot(0), snapshot(12, 1)])
    history = server.workbench.metric_history
    now = 1_700_000_040
    recorder = MetricRecorder(history, lambda: next(taken))
    recorder.tick(now)
    recorder.tick(now + 60)
    MetricRecorder(history, lambda: next(taken)).tick(now + 90)  # the server was started again within the minute
    model_id = server.workbench.catalog.show("tiny").model.id
    for name in ("tiny", model_id):
        found = server.get(f"/models/{name}/metrics/history", params={"from": now - 600, "to": now + 600, "step": 60})
        points = found.json()["points"]
        assert [(item["at"] - now, item["requests"], item["pending"]) for item in points] == [
            (-60, 60, 0),
            (0, 30, 0),
            (60, 12, 1),
        ]
        assert points[0]["requests_per_s"] == 1.0
        assert 0 < points[0]["p50_ms"] <= 1.0
        assert points[0]["mean_ms"] == 0.5
    whole = server.get("/models/tiny/metrics/history", params={"from": now - 600, "to": now + 600, "step": 3600})
    assert [item["requests"] for item in whole.json()["points"]] == [102]
    assert server.get("/models/tiny/metrics/history?from=5&to=5").status_code == 400
    assert server.get("/models/tiny/metrics/history?from=-1").status_code == 400


def test_counters_that_fell_count_from_zero_and_nothing_leaves_no_point():
    before = ModelSnapshot("m", "1", codes={"200": 100}, inferences=100)
    after = ModelSnapshot("m", "1", codes={"200": 7}, inferences=7)
    found = between(before, after, "m", 120)
    assert (found.requests, found.inferences, found.at) == (7, 7, 120)
    assert between(after, after, "m", 120) is None
