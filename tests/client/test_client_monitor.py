"""Snapshots of servers: ours, Triton's metrics, statistics alone, and nonsense."""

from __future__ import annotations

import json

import msgspec
import pytest
from hostile import Hostile, answer, pages

from quickserveml_tui.client.monitor import MonitorClient
from quickserveml_tui.client.monitor_metrics import read_metrics
from quickserveml_tui.client.prometheus import samples
from quickserveml_tui.client.remote import RemoteClient
from quickserveml_tui.core.errors import NotPermittedError, UnavailableError, UsageError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.monitor_rates import rates
from quickserveml_tui.core.monitoring import (
    Distribution,
    ModelSnapshot,
    MonitorSource,
    ServerSnapshot,
    SlowRequest,
    WorkerSnapshot,
)

pytestmark = pytest.mark.xdist_group("client")
monitor = MonitorClient()

TRITON = r"""# HELP nv_inference_request_success Number of successful inference requests
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="resnet",version="2"} 40
nv_inference_request_failure{model="resnet",reason="REJECTED",version="2"} 3
nv_inference_request_failure{model="resnet",reason="BACKEND",version="2"} 1
nv_inference_count{model="resnet",version="2"} 160
nv_inference_exec_count{model="resnet",version="2"} 20
nv_inference_request_duration_us{model="resnet",version="2"} 80000
nv_inference_queue_duration_us{model="resnet",version="2"} 20000
nv_inference_compute_infer_duration_us{model="resnet",version="2"} 40000.5
nv_inference_pending_request_count{model="resnet",version="2"} 7
nv_cache_num_hits_per_model{model="resnet",version="2"} 5
nv_inference_request_success_total{model="odd \"\\\n{x},",version="1"} 0 1700000000000
nv_gpu_utilization{gpu_uuid="GPU-1"} 0.25
nv_gpu_memory_used_bytes{gpu_uuid="GPU-1"} 1e9
nv_gpu_memory_total_bytes{gpu_uuid="GPU-1"} 8000000000
nv_cpu_utilization 0.5
nv_cpu_memory_total_bytes 16000
nv_cpu_memory_used_bytes 6000
another_exporter{whatever we do not read
"""


def metrics(text: str) -> bytes:
    return answer(text.encode(), kind="text/plain; version=0.0.4")


def test_a_server_of_ours_is_watched_with_percentiles(url):
    before = monitor.snapshot(url)
    for _ in range(7):
        RemoteClient().predict(url, "tiny", "", {"x": [[1, 2, 3, 4], [1, 2, 3, 4]]})
    after = monitor.snapshot(url)
    assert after.source is MonitorSource.OURS
    assert after.ready
    assert after.uptime_s > 0
    assert after.workers[0].cpu_s > 0
    found = rates(before, after)
    (busy,) = [model for model in found.models if model.name == "tiny"]
    assert sum(busy.heat) == 7
    assert busy.requests_per_s * found.interval_s == pytest.approx(7)
    assert busy.inferences_per_s * found.interval_s == pytest.approx(14)
    assert 0 < busy.p50_ms <= busy.p99_ms
    assert found.rss_bytes > 0


def test_metrics_with_tritons_names_give_means_and_no_percentiles():
    with Hostile(pages({"/metrics": metrics(TRITON), "/v2": answer(b'{"name":"triton","version":"2.51"}')})) as server:
        found = monitor.snapshot(server.url)
    resnet, odd = found.models
    assert (found.source, found.name, found.version) == (MonitorSource.TRITON, "triton", "2.51")
    assert resnet.codes == {"200": 40, "503": 3, "500": 1}
    assert (resnet.inferences, resnet.executions, resnet.pending, resnet.cache_hits) == (160, 20, 7, 5)
    assert resnet.latency == Distribution((), (40,), 0.08)
    assert odd.name == 'odd "\\ {x},'
    assert (found.cpu_percent, found.memory_available_bytes, found.gpus[0].utilisation) == (50.0, 10_000, 0.25)
    idle = ServerSnapshot(
        found.taken_at - 2, models=tuple(ModelSnapshot(item.name, item.version) for item in found.models)
    )
    busy = rates(idle, found).models[0]
    assert (busy.requests_per_s, busy.errors_per_s, busy.batch, busy.p99_ms) == (22.0, 2.0, 2.0, None)
    assert (busy.mean_ms, busy.queue_ms) == (pytest.approx(2.0), pytest.approx(0.5))


def test_statistics_alone_are_watched_too():
    times = {"success": {"count": 4, "ns": 8_000_000}, "fail": {"count": 1, "ns": 5}, "queue": {"count": 4, "ns": 400}}
    model = {
        "name": "m\u202e", "version": "3", "inference_count": 9, "execution_count": 2, "inference_stats": times,
        "last_inference": 1, "batch_stats": [{"batch_size": 1}],
    }  # fmt: skip
    page = answer(json.dumps({"model_stats": [model]}).encode())
    for others in ({}, {"/metrics": metrics("process_cpu_seconds_total 1\npython_info 1\n")}):
        with Hostile(pages({"/v2/models/stats": page, **others})) as server:
            found = monitor.snapshot(server.url)
        assert found.source is MonitorSource.PROTOCOL
        (shown,) = found.models
        assert (shown.name, shown.version, shown.codes, shown.inferences) == ("m", "3", {"200": 4, "500": 1}, 9)
        assert shown.latency.total == pytest.approx(0.008)


def document(**changes) -> bytes:
    snapshot = ServerSnapshot(
        taken_at=10.0,
        name="q\x1b[31m",
        models=(ModelSnapshot("m", "1", codes={"200": 1}, latency=Distribution((0.1,), (1, 0), 0.05)),),
        workers=(WorkerSnapshot(0, 5),),
        slow=(SlowRequest(9.0, "m", "1", 0.05, request_id="\x07id"),),
    )
    return msgspec.json.encode(msgspec.to_builtins(snapshot) | changes)


def test_our_own_snapshot_is_read_field_for_field_with_texts_that_can_be_shown():
    with Hostile(pages({"/api/v1/monitor": answer(document(further="ignored"))})) as server:
        found = monitor.snapshot(server.url, key="k")
    assert (found.name, found.slow[0].request_id, found.url) == ("q[31m", "id", server.url)
    assert found.models[0].latency.counts == (1, 0)
    assert len(server.requests) == 1


BROKEN_MODELS = [
    {"name": "m", "version": "1", "latency": {"bounds": [1.0], "counts": [1]}},
    {"name": "m", "version": "1", "latency": {"bounds": [2.0, 1.0], "counts": [1, 2, 3]}},
    {"name": "m", "version": "1", "latency": {"bounds": [1.0], "counts": [1, -2]}},
    {"name": "m", "version": "1", "codes": {"200": -1}},
    {"name": "m", "version": "1", "codes": {"200": "many"}},
    {"name": "m", "version": 1},
]


@pytest.mark.parametrize("body", [
    b"", b"null", b"{", b"[" * 100_000, b'{"taken_at": "now"}', b'{"taken_at": -1}', b'{"taken_at": 1, "workers": 7}',
    *(document(models=[model]) for model in BROKEN_MODELS),
])  # fmt: skip
def test_a_snapshot_that_cannot_be_read_is_the_servers_fault(body):
    with Hostile(pages({"/api/v1/monitor": answer(body)})) as server, pytest.raises(UnavailableError) as caught:
        monitor.snapshot(server.url)
    assert caught.value.code == "server.answer"


BUCKETS = 'qsml_inference_batch_size_bucket{model="m",version="1",le="%s"} %s\n'


@pytest.mark.parametrize("text", [
    "nv_inference_count{model=\"m\" 1", "nv_inference_count{model=\"m\"}", "nv_inference_count{model=m} 1",
    "nv_inference_count{model=\"m\",model=\"n\"} 1", "nv_inference_count{model=\"m\"} -1",
    "nv_inference_count{model=\"m\"} NaN", "nv_inference_count{model=\"m\"} 1e300", "nv_inference_count{model=\"m\"} 1 2 3",
    "nv_inference_count{model=\"m\"} 1_0", "nv_inference_count{model=\"\\\"} 1", "nv_x" + "{" * 50_000,
    BUCKETS % ("1", 5) + BUCKETS % ("+Inf", 3), BUCKETS % ("1", 5), BUCKETS % ("x", 5),
    "nv_x{" + "a=\"\\\\" * 20_000,
])  # fmt: skip
def test_metrics_that_are_not_in_the_format_are_the_servers_fault(text):
    with Hostile(pages({"/metrics": metrics(text + "\n")})) as server, pytest.raises(UnavailableError) as caught:
        monitor.snapshot(server.url)
    assert caught.value.code == "server.answer"


def test_what_no_metrics_speak_of_is_no_server_for_models():
    for table in ({}, {"/metrics": metrics("up 1\n")}, {"/metrics": answer(b"{}")}):
        with Hostile(pages(table)) as server, pytest.raises(UnavailableError, match="neither") as caught:
            monitor.snapshot(server.url)
        assert caught.value.code == "server.answer"
    assert read_metrics("") is None


def test_labels_values_and_times_are_read_as_the_format_writes_them():
    text = 'a_b:c{x="1",y="\\n\\\\\\""} +Inf\r\na_d 1e3 1700000000000\n# a_comment\nb 1\na_e{} 0x\n'
    read = samples(text, ("a_",))
    assert tuple(next(read)) == ("a_b:c", {"x": "1", "y": '\n\\"'}, float("inf"))
    assert tuple(next(read)) == ("a_d", {}, 1000.0)
    with pytest.raises(ValueError, match="line 5"):
        next(read)


def test_a_refusal_and_a_failure_are_told_apart():
    for status, kind in (
        ("401 No", NotPermittedError),
        ("403 No", NotPermittedError),
        ("500 Broken", UnavailableError),
    ):
        with Hostile(pages({"/api/v1/monitor": answer(b"{}", status=status)})) as server, pytest.raises(kind):
            monitor.snapshot(server.url, key="k")


def test_watching_gives_one_snapshot_per_interval_until_it_is_cancelled():
    token = CancelToken()
    with Hostile(pages({"/api/v1/monitor": answer(document())})) as server:
        found = []
        for snapshot in monitor.watch(server.url, interval_s=0.1, cancel=token):
            found.append(snapshot)
            if len(found) == 3:
                token.cancel()
        assert len(found) == len(server.requests) == 3
        with pytest.raises(UsageError):
            next(monitor.watch(server.url, interval_s=0.0))


def test_watching_asks_others_for_what_they_have_only():
    token = CancelToken()
    with Hostile(pages({"/metrics": metrics(TRITON)})) as server:
        for index, _ in enumerate(monitor.watch(server.url, interval_s=0.1, cancel=token)):
            if index == 2:
                token.cancel()
    paths = [request.split(b" ")[1] for request in server.requests]
    assert (paths.count(b"/api/v1/monitor"), paths.count(b"/v2"), paths.count(b"/metrics")) == (1, 1, 3)
