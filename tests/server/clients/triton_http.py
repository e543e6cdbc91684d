"""tritonclient over HTTP, sync and asyncio."""

import asyncio

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from common import ARRAYS, COMPRESSIONS, RNG, Report, arguments, as_sent, expected, fill, same

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
        index = await client.get_model_repository_index()
        report.check("aio index", lambda: any(item["name"] == "tiny" for item in index))


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
    rest(sync_client)
    repository(sync_client)
asyncio.run(aio_matrix())
report.finish()
