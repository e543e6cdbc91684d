"""Clients of Triton and KServe work unchanged, and get what a direct run of the runtime gives."""

import json

import httpx
import ml_dtypes
import numpy as np
import onnxruntime
import pytest
import tritonclient.http as triton
from server_process import running

pytestmark = pytest.mark.xdist_group("server")


@pytest.fixture
def client(server):
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as found:
        yield found


def tensor(name, array, datatype, *, binary):
    found = triton.InferInput(name, list(array.shape), datatype)
    found.set_data_from_numpy(array, binary_data=binary)
    return found


def direct(path, feeds):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip([item.name for item in session.get_outputs()], session.run(None, feeds), strict=True))


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("name", ["tiny", "across", "dynamic_int8", "slow"])
def test_tritonclient_gets_what_the_runtime_gives(client, model_paths, name, binary_in, binary_out):
    shape = (3, 8, 512) if name == "slow" else (3, 4)
    x = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    outputs = None if binary_out is None else [triton.InferRequestedOutput("y", binary_data=binary_out)]
    result = client.infer(name, [tensor("x", x, "FP32", binary=binary_in)], outputs=outputs, request_id="a “b”")
    assert np.array_equal(result.as_numpy("y"), direct(model_paths[name], {"x": x})["y"])
    assert result.get_response()["id"] == "a “b”"
    assert result.get_response()["model_version"] == "1"


ARRAYS = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT64": np.array([[1, 2**64 - 1]], np.uint64),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-32768, 32767]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "FP16": np.array([[0.1, -65504]], np.float16),
    "FP32": np.array([[0.1, 3.4028235e38]], np.float32),
    "FP64": np.array([[0.1, 1.7976931348623157e308]], np.float64),
    "BYTES": np.array([["", 'naïve\n"ΑΩ" 😀']], object),
}


@pytest.mark.parametrize("binary", [True, False])
def test_every_datatype_comes_back_bit_by_bit(client, binary):
    inputs = [tensor(f"in_{kind}", array, kind, binary=binary) for kind, array in ARRAYS.items()]
    outputs = [triton.InferRequestedOutput(f"out_{kind}", binary_data=binary) for kind in ARRAYS]
    result = client.infer("dtypes", inputs, outputs=outputs)
    for kind, array in ARRAYS.items():
        found = result.as_numpy(f"out_{kind}")
        if kind == "BYTES":
            found = np.array([[item.decode() if isinstance(item, bytes) else item for item in found[0]]], object)
        assert np.array_equal(found, array), kind


def test_bfloat16_travels_in_binary_only(client):
    x = np.array([[1.5, -2.0, 3.25, 0.0]], ml_dtypes.bfloat16)
    result = client.infer("bfloat16", [tensor("x", x, "BF16", binary=True)])
    assert np.array_equal(result.as_numpy("y").astype(np.float32), x.astype(np.float32))
    with pytest.raises(triton.InferenceServerException, match="BF16, which only the binary form can carry"):
        client.infer(
            "bfloat16",
            [tensor("x", x, "BF16", binary=True)],
            outputs=[triton.InferRequestedOutput("y", binary_data=False)],
        )


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_are_unpacked(client, model_paths, algorithm):
    x = np.ones((2, 4), np.float32)
    result = client.infer("tiny", [tensor("x", x, "FP32", binary=True)], request_compression_algorithm=algorithm)
    assert np.array_equal(result.as_numpy("y"), direct(model_paths["tiny"], {"x": x})["y"])


def test_outputs_come_in_the_order_and_form_that_was_asked(client):
    inputs = [tensor(f"in_{kind}", array, kind, binary=True) for kind, array in ARRAYS.items()]
    wanted = [
        triton.InferRequestedOutput("out_INT8", binary_data=False),
        triton.InferRequestedOutput("out_BOOL", binary_data=True),
    ]
    response = client.infer("dtypes", inputs, outputs=wanted).get_response()
    assert [item["name"] for item in response["outputs"]] == ["out_INT8", "out_BOOL"]
    assert ["data" in item for item in response["outputs"]] == [True, False]


def test_large_pictures_equal_the_runtime_in_every_form(client, model_paths):
    x = np.random.default_rng(1).standard_normal((4, 3, 64, 64)).astype(np.float32)
    want = direct(model_paths["picture"], {"x": x})["y"]
    for binary in (True, False):
        assert np.array_equal(client.infer("picture", [tensor("x", x, "FP32", binary=binary)]).as_numpy("y"), want)


def test_a_raw_binary_request_takes_its_shape_from_the_model(server, model_paths):
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    headers = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}
    reply = httpx.post(f"{server.url}/v2/models/tiny/infer", content=x.tobytes(), headers=headers)
    split = int(reply.headers["inference-header-content-length"])
    assert json.loads(reply.content[:split])["outputs"][0]["shape"] == [2, 3]
    found = np.frombuffer(reply.content[split:], np.float32).reshape(2, 3)
    assert np.array_equal(found, direct(model_paths["tiny"], {"x": x})["y"])
    reply = httpx.post(f"{server.url}/v2/models/strings/infer", content="grüß".encode(), headers=headers)
    assert reply.content.endswith("grüß".encode())
    assert httpx.post(f"{server.url}/v2/models/tiny/infer", content=b"12345", headers=headers).status_code == 400


def test_health_and_metadata_are_what_the_clients_parse(client, server):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "1")
    assert not client.is_model_ready("nothing")
    assert httpx.get(f"{server.url}/v2/health/live").json() == {"live": True}
    assert httpx.get(f"{server.url}/v2/health/ready").json() == {"ready": True, "live": True}
    assert client.get_server_metadata()["name"] == "quickserveml"
    metadata = client.get_model_metadata("tiny")
    assert metadata["versions"] == ["1"]
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    config = client.get_model_config("tiny")
    assert config["max_batch_size"] > 1
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}]
    assert client.get_model_config("across")["max_batch_size"] == 0
    assert {"name": "tiny", "version": "1", "state": "READY", "reason": ""} in client.get_model_repository_index()


def test_statistics_count_what_was_asked(client):
    def success():
        (found,) = client.get_inference_statistics("lookup")["model_stats"]
        return found["inference_stats"]["success"]["count"], found["inference_stats"]["fail"]["count"]

    good = tensor("i", np.array([1, 2], np.int64), "INT64", binary=True)
    bad = tensor("i", np.array([99], np.int64), "INT64", binary=True)
    succeeded, failed = success()
    client.infer("lookup", [good])
    with pytest.raises(triton.InferenceServerException):
        client.infer("lookup", [bad])
    assert success() == (succeeded + 1, failed + 1)


def test_an_unknown_model_and_version_are_404(client):
    x = tensor("x", np.ones((1, 4), np.float32), "FP32", binary=True)
    for name, version, text in (("tinny", "", "Did you mean tiny"), ("tiny", "7", "has no version")):
        with pytest.raises(triton.InferenceServerException, match=text) as caught:
            client.infer(name, [x], model_version=version)
        assert caught.value.status() == "404"


def test_only_models_whose_rows_are_independent_share_a_run(server):
    def batched(name):
        return httpx.get(f"{server.url}/v2/models/{name}/config").json()["max_batch_size"] > 0

    assert {name: batched(name) for name in ("tiny", "slow", "across", "dynamic_int8", "strings")} == {
        "tiny": True,
        "slow": True,
        "across": False,
        "dynamic_int8": False,
        "strings": True,
    }


def test_scalars_fixed_and_gigantic_shapes_are_served(server, model_paths, tmp_path):
    def infer(name, shape, data):
        body = {"inputs": [{"name": "x", "shape": shape, "datatype": "FP32", "data": data}]}
        return httpx.post(f"{server.url}/v2/models/{name}/infer", json=body)

    for data in (2.5, [2.5]):
        assert infer("scalar", [], data).json()["outputs"][0] == {
            "name": "y",
            "datatype": "FP32",
            "shape": [],
            "data": [-2.5],
        }
    assert infer("fixed_batch", [8, 4], [1] * 32).json()["outputs"][0]["data"] == [-1.0] * 32
    assert infer("fixed_batch", [1, 4], [1] * 4).status_code == 400
    assert infer("gigantic", [1, 2**40], [1]).status_code == 400
    with running([model_paths["gigantic"]], tmp_path / "log") as alone:
        assert httpx.get(f"{alone.url}/model/schema").json()["example"] is None
        assert httpx.get(f"{alone.url}/openapi.json").status_code == 200
    with running([model_paths["scalar"]], tmp_path / "log") as alone:
        example = httpx.get(f"{alone.url}/model/schema").json()["examples"]["predict"]
        assert httpx.post(f"{alone.url}/predict", json=example).json()["outputs"] == {"y": 0.0}


def test_outputs_without_a_tensor_form_go_out_by_the_short_form_only(server):
    metadata = httpx.get(f"{server.url}/v2/models/zipmap").json()
    assert [item["name"] for item in metadata["outputs"]] == ["label"]
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 3, 0, 0]}]}
    reply = httpx.post(f"{server.url}/v2/models/zipmap/infer", json=body).json()
    assert reply["outputs"] == [{"name": "label", "datatype": "INT64", "shape": [1], "data": [1]}]


def test_maps_and_sequences_are_objects_and_lists_in_the_short_form(model_paths, tmp_path):
    with running([model_paths["zipmap"]], tmp_path / "log") as server:
        reply = httpx.post(f"{server.url}/predict", json={"data": [[0, 3, 0, 0], [9, 0, 0, 0]]})
    outputs = reply.json()["outputs"]
    assert outputs["label"] == [1, 0]
    assert outputs["probabilities"][1]["0"] == pytest.approx(1, abs=1e-3)
