"""tritonclient over gRPC: sync, callbacks, asyncio, streams."""

import asyncio
import queue

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from common import ARRAYS, COMPRESSIONS, RNG, Report, arguments, as_sent, expected, fill, same

GIVEN = arguments()
URL = f"127.0.0.1:{GIVEN['grpc_port']}"
report = Report()


def tensor(name, array, kind):
    found = triton.InferInput(name, list(array.shape), kind)
    return fill(found, array)


def questions():
    for kind in ARRAYS:
        for packed in COMPRESSIONS:
            yield kind, packed, [tensor("x", as_sent(kind), kind)]


def fetch(start):
    """What a call with a callback gives."""
    done = queue.Queue()
    start(lambda result, error: done.put((result, error)))
    result, error = done.get(timeout=20)
    if error is not None:
        raise error
    return result


def matrix(client):
    for kind, packed, inputs in questions():
        name = f"same_{kind.lower()}"
        report.check(
            f"sync {kind} {packed}",
            lambda kind=kind, inputs=inputs, packed=packed, name=name: same(
                kind, client.infer(name, inputs, compression_algorithm=packed).as_numpy("y")
            ),
        )
        report.check(
            f"callback {kind} {packed}",
            lambda kind=kind, inputs=inputs, packed=packed, name=name: same(
                kind,
                fetch(lambda call: client.async_infer(name, inputs, call, compression_algorithm=packed)).as_numpy("y"),
            ),
        )


def streams(client):
    for packed in COMPRESSIONS:
        done = queue.Queue()
        client.start_stream(lambda result, error, done=done: done.put((result, error)), compression_algorithm=packed)
        for kind in ARRAYS:
            client.async_stream_infer(f"same_{kind.lower()}", [tensor("x", as_sent(kind), kind)], request_id=kind)
        for kind in ARRAYS:

            def run(kind=kind, done=done):
                result, error = done.get(timeout=20)
                assert error is None, error
                assert result.get_response().id == kind
                return same(kind, result.as_numpy("y"))

            report.check(f"stream {kind} {packed}", run)
        client.stop_stream()


def mixed_stream(client):
    done = queue.Queue()
    client.start_stream(lambda result, error: done.put((result, error)))
    asked = [tensor("x", np.ones((1, 4), np.float32), "FP32")]
    for index in range(30):
        client.async_stream_infer("tiny" if index % 3 else "nothing", asked, request_id=str(index))

    def run():
        for index in range(30):
            result, error = done.get(timeout=20)
            assert (error is None) == bool(index % 3), index
            assert error is not None or result.get_response().id == str(index)

    report.check("stream keeps the order and goes on after errors", run)
    client.stop_stream()


async def aio_matrix():
    async with triton_aio.InferenceServerClient(URL) as client:
        for kind, packed, inputs in questions():
            try:
                result = await client.infer(f"same_{kind.lower()}", inputs, compression_algorithm=packed)
                report.check(f"aio {kind} {packed}", lambda kind=kind, result=result: same(kind, result.as_numpy("y")))
            except Exception as error:
                report.cells[f"aio {kind} {packed}"] = repr(error)


def rest(client):
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    asked = [tensor("x", x, "FP32")]
    want = expected(GIVEN["tiny"], {"x": x})[0]
    for version in ("", "1"):
        report.check(
            f"real model {version}",
            lambda version=version: np.array_equal(
                client.infer("tiny", asked, model_version=version, priority=1, timeout=9_000_000).as_numpy("y"), want
            ),
        )
    report.check("live", client.is_server_live)
    report.check("ready", lambda: client.is_server_ready() and client.is_model_ready("tiny", "1"))
    report.check("not ready", lambda: not client.is_model_ready("nothing"))
    report.check("metadata", lambda: client.get_server_metadata().name == "quickserveml")
    report.check("model metadata", lambda: list(client.get_model_metadata("tiny").inputs[0].shape) == [-1, 4])
    config = client.get_model_config("tiny").config
    report.check("config", lambda: config.max_batch_size > 1 and config.input[0].data_type == 11)
    report.check(
        "statistics",
        lambda: client.get_inference_statistics("tiny").model_stats[0].inference_stats.success.count >= 2,
    )
    report.refused("unknown model", lambda: client.infer("tinny", asked), "NOT_FOUND", "not served")
    report.refused("unknown version", lambda: client.infer("tiny", asked, model_version="7"), "NOT_FOUND", "version")
    bad = [tensor("x", np.ones((1, 5), np.float32), "FP32")]
    report.refused("wrong shape", lambda: client.infer("tiny", bad), "INVALID_ARGUMENT", "shape")
    report.refused("sequence", lambda: client.infer("tiny", asked, sequence_id=3), "INVALID_ARGUMENT", "sequence")
    classes = [triton.InferRequestedOutput("y", class_count=2)]
    report.refused("classification", lambda: client.infer("tiny", asked, outputs=classes), "INVALID_ARGUMENT")
    for name in ("system_shared_memory_status", "cuda_shared_memory_status", "trace_settings", "log_settings"):
        report.refused(name, getattr(client, f"get_{name}"), "UNIMPLEMENTED")
    large = [tensor("x", np.ones((400_000, 4), np.float32), "FP32")]
    report.refused("too large", lambda: client.infer("tiny", large), "RESOURCE_EXHAUSTED")
    report.refused(
        "too large unpacked", lambda: client.infer("tiny", large, compression_algorithm="gzip"), "RESOURCE_EXHAUSTED"
    )
    heavy = [tensor("x", np.ones((8, 8, 512), np.float32), "FP32")]
    report.refused("deadline", lambda: client.infer("slow", heavy, client_timeout=0.005), "DEADLINE_EXCEEDED")

    def cancelled():
        done = queue.Queue()
        running = [client.async_infer("slow", heavy, lambda result, error: done.put(error)) for _ in range(6)]
        running[-1].cancel()
        errors = [done.get(timeout=30) for _ in running]
        return sum(error is not None for error in errors) == 1

    report.check("cancelled", cancelled)

    def overloaded():
        done = queue.Queue()
        for _ in range(80):
            client.async_infer("slow", heavy, lambda result, error: done.put(error))
        errors = [error for error in (done.get(timeout=60) for _ in range(80)) if error is not None]
        assert errors, "nothing was refused"
        return all("UNAVAILABLE" in str(error.status()) for error in errors)

    report.check("overloaded", overloaded)


def repository(client):
    def states():
        return {item.name: item.state for item in client.get_model_repository_index().models}

    report.check("index", lambda: states()["tiny"] == "READY")
    report.check("load", lambda: client.load_model("tiny"))
    seven = '{"version_policy": {"specific": {"versions": [7]}}}'
    report.refused("load another version", lambda: client.load_model("tiny", config=seven), "NOT_FOUND")
    report.refused("load with settings", lambda: client.load_model("tiny", config="{}"), "INVALID_ARGUMENT")
    report.check("unload", lambda: client.unload_model("spare_grpc"))
    report.check("unloaded", lambda: states().get("spare_grpc") != "READY")
    report.refused("unload unknown", lambda: client.unload_model("nothing"), "NOT_FOUND")


with triton.InferenceServerClient(URL) as sync_client:
    matrix(sync_client)
    streams(sync_client)
    mixed_stream(sync_client)
    rest(sync_client)
    repository(sync_client)
asyncio.run(aio_matrix())
report.finish()
