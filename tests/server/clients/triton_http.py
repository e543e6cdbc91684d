"""tritonclient over HTTP, sync and asyncio."""

import asyncio

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
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
URL = f"127.0.0.1:{GIVEN['port']}"
report = Report()


def tensor(name, array, kind, *, binary=True):
    found = triton.InferInput(name, list(array.shape), kind)
    return fill(found, array, binary_data=binary)


def question(kind, *, binary):
    return (
        [tensor("x", as_sent(kind), kind, binary=binary)],
        [triton.InferRequestedOutput("y", binary_data=binary)],
    )


def cells():
    for kind in ARRAYS:
        for binary in (True, False):
            if kind == "BF16" and not binary:
                continue  # the protocol has no JSON form of it, nor has the client
            for packed in COMPRESSIONS:
                yield kind, binary, packed


def compressions(packed):
    return {"request_compression_algorithm": packed, "response_compression_algorithm": packed}


def sync_matrix(client):
    for kind, binary, packed in cells():
        inputs, outputs = question(kind, binary=binary)

        def run(kind=kind, inputs=inputs, outputs=outputs, packed=packed):
            result = client.infer(
                f"same_{kind.lower()}", inputs, outputs=outputs, request_id="r1", **compressions(packed)
            )
            assert result.get_response()["id"] == "r1"
            return same(kind, result.as_numpy("y"))

        report.check(f"sync {kind} {'binary' if binary else 'json'} {packed}", run)


def async_matrix(client):
    pending = {}
    for kind, binary, packed in cells():
        inputs, outputs = question(kind, binary=binary)
        name = f"async {kind} {'binary' if binary else 'json'} {packed}"
        pending[name] = (
            kind,
            client.async_infer(f"same_{kind.lower()}", inputs, outputs=outputs, **compressions(packed)),
        )
    for name, (kind, item) in pending.items():
        report.check(name, lambda kind=kind, item=item: same(kind, item.get_result().as_numpy("y")))


async def aio_matrix():
    async with triton_aio.InferenceServerClient(URL) as client:
        for kind, binary, packed in cells():
            inputs, outputs = question(kind, binary=binary)
            name = f"aio {kind} {'binary' if binary else 'json'} {packed}"
            try:
                result = await client.infer(f"same_{kind.lower()}", inputs, outputs=outputs, **compressions(packed))
                report.check(name, lambda kind=kind, result=result: same(kind, result.as_numpy("y")))
            except Exception as error:
                report.cells[name] = repr(error)
        await aio_rest(client)


async def aio_rest(client):
    async def serves(name):
        return any(
            item["name"] == name for item in await client.get_model_repository_index() if item["state"] == "READY"
        )

    async def loaded():
        await client.load_model("tiny")
        return await serves("tiny")

    async def unloaded():
        await client.unload_model("spare_http_aio")
        return not await serves("spare_http_aio")

    async def configured():
        return (await client.get_model_config("tiny"))["input"][0]["data_type"] == "TYPE_FP32"

    async def counted():
        return (await client.get_inference_statistics("same_fp32"))["model_stats"][0]["inference_count"] > 0

    async def described():
        metadata = await client.get_model_metadata("tiny")
        return metadata["versions"] == ["1"] and (await client.get_server_metadata())["name"] == "quickserveml"

    async def ready():
        return await client.is_server_live() and await client.is_server_ready() and await client.is_model_ready("tiny")

    calls = {"ready": ready, "metadata": described, "config": configured, "statistics": counted}
    for name, call in (calls | {"load": loaded, "unload": unloaded}).items():
        await awaited(report, f"aio {name}", call)


def versions():
    x = RNG.standard_normal((2, 4)).astype(np.float32)
    asked = [tensor("x", x, "FP32")]
    with triton.InferenceServerClient(f"127.0.0.1:{GIVEN['versions']['port']}") as client:
        for version, want in multiplied(x).items():

            def run(version=version, want=want):
                found = client.infer("times", asked, model_version=version)
                assert found.get_response()["model_version"] == (version or "2")
                return np.array_equal(found.as_numpy("y"), want)

            report.check(f"version {version or 'none'}", run)
        report.check("versions", lambda: client.get_model_metadata("times")["versions"] == ["1", "2"])
        report.check(
            "version ready", lambda: client.is_model_ready("times", "1") and not client.is_model_ready("times", "3")
        )
        report.check(
            "version statistics",
            lambda: (
                [
                    (item["version"], item["inference_count"])
                    for item in client.get_inference_statistics("times")["model_stats"]
                ]
                == [("1", 2), ("2", 4)]
            ),
        )
        report.check("version config", lambda: client.get_model_config("times", "2")["name"] == "times")


def rest(client):
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    question = [tensor("x", x, "FP32")]
    want = expected(GIVEN["tiny"], {"x": x})[0]
    report.check("real model", lambda: np.array_equal(client.infer("tiny", question).as_numpy("y"), want))
    versioned = lambda: np.array_equal(client.infer("tiny", question, model_version="1").as_numpy("y"), want)  # noqa: E731
    report.check("version", versioned)
    pending = [client.async_infer("tiny", question) for _ in range(8)]
    report.check("async", lambda: all(np.array_equal(item.get_result().as_numpy("y"), want) for item in pending))
    if GIVEN.get("network"):
        picture = RNG.standard_normal((1, 3, 224, 224)).astype(np.float32)
        whole = expected(GIVEN["network"], {GIVEN["network_input"]: picture})[0]
        asked = [tensor(GIVEN["network_input"], picture, "FP32")]

        def network():
            found = client.infer(GIVEN["network_name"], asked)
            name = found.get_response()["outputs"][0]["name"]
            return np.allclose(found.as_numpy(name), whole, rtol=1e-5, atol=1e-6)

        report.check("network", network)
    report.check("live", client.is_server_live)
    report.check("ready", lambda: client.is_server_ready() and client.is_model_ready("tiny", "1"))
    report.check("metadata", lambda: client.get_server_metadata()["name"] == "quickserveml")
    report.check("model metadata", lambda: client.get_model_metadata("tiny", "1")["versions"] == ["1"])
    report.check("config", lambda: client.get_model_config("tiny")["input"][0]["data_type"] == "TYPE_FP32")

    def statistics():
        (found,) = client.get_inference_statistics("tiny")["model_stats"]
        assert client.get_inference_statistics("tiny", "1")["model_stats"][0]["name"] == "tiny"
        return found["inference_stats"]["success"]["count"] >= 10

    report.check("statistics", statistics)
    report.refused("unknown model", lambda: client.infer("tinny", question), "404", "not served")
    report.refused("unknown version", lambda: client.infer("tiny", question, model_version="7"), "404", "no version")
    bad = [tensor("x", np.ones((1, 5), np.float32), "FP32")]
    report.refused("wrong shape", lambda: client.infer("tiny", bad), "400", "shape")
    report.refused("sequence", lambda: client.infer("tiny", question, sequence_id=3), "400", "sequence")
    classes = [triton.InferRequestedOutput("y", class_count=2)]
    report.refused("classification", lambda: client.infer("tiny", question, outputs=classes), "400", "classification")
    report.refused("system shared memory", client.get_system_shared_memory_status, "404")
    report.refused("cuda shared memory", client.get_cuda_shared_memory_status, "404")
    report.refused("trace", client.get_trace_settings, "404")
    report.refused("log", client.get_log_settings, "404")


def repository(client):
    def states():
        return {item["name"]: item["state"] for item in client.get_model_repository_index()}

    report.check("index", lambda: states()["tiny"] == "READY")
    report.check("load", lambda: client.load_model("tiny"))
    report.check("unload", lambda: client.unload_model("spare_http"))
    report.check("unloaded", lambda: states().get("spare_http") != "READY")
    asked = [tensor("x", np.ones((1, 4), np.float32), "FP32")]
    report.refused("unloaded model", lambda: client.infer("spare_http", asked), "404")
    report.refused("unload unknown", lambda: client.unload_model("nothing"), "404")
    report.refused("load with files", lambda: client.load_model("tiny", config="{}", files={"file:1/m": b"x"}), "400")


with triton.InferenceServerClient(URL) as sync_client:
    sync_matrix(sync_client)
    async_matrix(sync_client)
    rest(sync_client)
    repository(sync_client)
asyncio.run(aio_matrix())
versions()
report.finish()
