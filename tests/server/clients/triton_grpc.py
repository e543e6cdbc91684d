"""tritonclient over gRPC: sync, callbacks, asyncio, streams."""

import asyncio
import queue

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from common import (
    ARRAYS,
    COMPRESSIONS,
    RNG,
    Report,
    arguments,
    as_sent,
    awaited,
    expected,
    fill,
    multiplied,
    same,
)

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


def wish(packed):
    """Headers that ask for compressed answers."""
    return {"qsml-response-compression": packed} if packed else None


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
                kind, client.infer(name, inputs, compression_algorithm=packed, headers=wish(packed)).as_numpy("y")
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
        for packed in COMPRESSIONS:
            await aio_stream(client, packed)
        await aio_rest(client)


async def aio_stream(client, packed):
    async def requests():
        for kind in ARRAYS:
            inputs = [tensor("x", as_sent(kind), kind)]
            yield {"model_name": f"same_{kind.lower()}", "inputs": inputs, "request_id": kind}

    answers = client.stream_infer(requests(), compression_algorithm=packed, headers=wish(packed))
    for kind in ARRAYS:

        async def call(kind=kind):
            result, error = await anext(answers)
            assert error is None, error
            return result.get_response().id == kind and same(kind, result.as_numpy("y"))

        await awaited(report, f"aio stream {kind} {packed}", call)


async def aio_rest(client):
    async def serves(name):
        return any(
            item.name == name and item.state == "READY" for item in (await client.get_model_repository_index()).models
        )

    async def loaded():
        await client.load_model("tiny")
        return await serves("tiny")

    async def unloaded():
        await client.unload_model("spare_grpc_aio")
        return not await serves("spare_grpc_aio")

    async def configured():
        return (await client.get_model_config("tiny")).config.input[0].data_type == 11

    async def counted():
        return (await client.get_inference_statistics("same_fp32")).model_stats[0].inference_count > 0

    async def described():
        metadata = await client.get_model_metadata("tiny")
        return list(metadata.versions) == ["1"] and (await client.get_server_metadata()).name == "quickserveml"

    async def ready():
        return await client.is_server_live() and await client.is_server_ready() and await client.is_model_ready("tiny")

    calls = {"ready": ready, "metadata": described, "config": configured, "statistics": counted}
    for name, call in (calls | {"load": loaded, "unload": unloaded}).items():
        await awaited(report, f"aio {name}", call)


def versions():
    x = RNG.standard_normal((2, 4)).astype(np.float32)
    asked = [tensor("x", x, "FP32")]
    with triton.InferenceServerClient(f"127.0.0.1:{GIVEN['versions']['grpc_port']}") as client:
        for version, want in multiplied(x).items():

            def run(version=version, want=want):
                found = client.infer("times", asked, model_version=version)
                assert found.get_response().model_version == (version or "2")
                return np.array_equal(found.as_numpy("y"), want)

            report.check(f"version {version or 'none'}", run)
        report.check("versions", lambda: list(client.get_model_metadata("times").versions) == ["1", "2"])
        report.check(
            "version ready", lambda: client.is_model_ready("times", "1") and not client.is_model_ready("times", "3")
        )
        report.check("version config", lambda: client.get_model_config("times", "2").config.name == "times")
        stats = lambda: client.get_inference_statistics("times", "1").model_stats  # noqa: E731
        report.check("version statistics", lambda: [item.version for item in stats()] == ["1"])
        done = queue.Queue()
        client.start_stream(lambda result, error: done.put((result, error)))
        for version in ("1", "2"):
            client.async_stream_infer("times", asked, model_version=version)

        def streamed():
            results = [done.get(timeout=20)[0].as_numpy("y") for _ in range(2)]
            return all(np.array_equal(found, x * (index + 1)) for index, found in enumerate(results))

        report.check("version in a stream", streamed)
        client.stop_stream()


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
    picture = RNG.standard_normal((1, 3, 224, 224)).astype(np.float32)

    def network():
        found = client.infer(GIVEN["network_name"], [tensor(GIVEN["network_input"], picture, "FP32")])
        whole = expected(GIVEN["network"], {GIVEN["network_input"]: picture})[0]
        return np.allclose(found.as_numpy(found.get_response().outputs[0].name), whole, rtol=1e-5, atol=1e-6)

    report.check("network", network)
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
versions()
report.finish()
