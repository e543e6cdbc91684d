"""Asking servers: ours, and those that answer with nonsense."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
from hostile import Hostile, answer, pages

from quickserveml_tui.client.remote import RemoteClient
from quickserveml_tui.core.errors import DataError, NotFoundError, NotPermittedError, QuickServeError, UnavailableError
from quickserveml_tui.core.feeds import FeedSpec

pytestmark = pytest.mark.xdist_group("client")
remote = RemoteClient()


def test_outputs_equal_those_of_a_direct_run(url, model_files):
    x = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    outputs, latency_ms = remote.predict(url, "tiny", "1", {"x": x})
    session = onnxruntime.InferenceSession(model_files["tiny"], providers=["CPUExecutionProvider"])
    assert np.array_equal(outputs["y"], session.run(None, {"x": x})[0])
    assert latency_ms > 0


def test_every_datatype_comes_back_as_it_was_sent(url):
    inputs = remote.metadata(url, "dtypes").made_up(FeedSpec(seed=3, batch=3))
    inputs["in_FP32"][0, 0], inputs["in_FP64"][0, 0] = np.nan, -np.inf
    inputs["in_BYTES"][:] = [["", "é"], ["a\nb", "😀"], ["x" * 3000, "\0"]]
    outputs, _ = remote.predict(url, "dtypes", "", inputs)
    for name, sent in inputs.items():
        back = outputs[name.replace("in_", "out_")]
        assert back.dtype == sent.dtype
        assert back.shape == (3, 2)
        assert np.array_equal(back, sent, equal_nan=sent.dtype.kind == "f"), name
    x = np.arange(8).reshape(2, 4).astype(ml_dtypes.bfloat16)
    assert np.array_equal(remote.predict(url, "bfloat16", "", {"x": x})[0]["y"], x)


def test_scalars_and_empty_tensors_keep_their_shapes(url):
    assert remote.predict(url, "scalar", "", {"x": 3})[0]["y"].shape == ()
    assert remote.predict(url, "zeros", "", {"n": [0]})[0]["y"].shape == (0,)


def test_a_server_without_binary_data_gets_json():
    seen = []

    def serve(connection, head):
        path = head.split(b" ")[1].decode()
        if path.endswith("/infer"):
            seen.append(json.loads(server.requests[-1].partition(b"\r\n\r\n")[2]))
            reply = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 2]}]}
        elif path == "/v2":
            reply = {"name": "other", "extensions": []}
        else:
            kinds = [
                {"name": "x", "datatype": "FP16", "shape": [-1, 2]},
                {"name": "t", "datatype": "BYTES", "shape": [1]},
            ]
            reply = {"name": "m", "inputs": kinds, "outputs": []}
        connection.sendall(answer(json.dumps(reply).encode()))

    with Hostile(serve) as server:
        outputs, _ = remote.predict(server.url, "m", "", {"x": [[1, 0.5]], "t": ["é"]})
        assert outputs["y"].tolist() == [[1.5, 2.0]]
        assert [tensor["data"] for tensor in seen[0]["inputs"]] == [[1.0, 0.5], ["é"]]
        assert "parameters" not in seen[0]
        with pytest.raises(DataError) as caught:
            remote.predict(server.url, "m", "", {"x": [[1, np.nan]], "t": ["é"]})
        assert caught.value.code == "output.not_finite" or caught.value.hint


def test_the_example_can_be_sent_as_it_is(url):
    for model in ("tiny", "dtypes", "strings", "scalar"):
        text = remote.example(url, model)
        status, said, elapsed_ms = remote.send(url, f"/v2/models/{model}/infer", text.encode())
        assert status == 200, said
        assert json.loads(said)["model_name"] == model
        assert elapsed_ms > 0
    assert max(map(len, remote.example(url, "dtypes").splitlines())) < 80
    with pytest.raises(DataError) as caught:
        remote.example(url, "bfloat16")
    assert caught.value.code == "data.binary_only"


def test_what_is_sent_by_hand_shows_every_answer_of_the_server(url):
    status, said, _ = remote.send(url, "/v2/models/tiny/infer", b"{")
    assert status == 400
    assert "JSON" in said
    assert remote.send(url, "/v2/models/nope/infer", b"{}")[0] == 404
    with Hostile(lambda connection, _head: connection.sendall(answer(b"\x1b]52;c;x\x07no", status="401 No"))) as server:
        assert remote.send(server.url, "/x", b"{}", key="k")[:2] == (401, "]52;c;xno")
        for path in ("v2", "http://other/", "/../etc", "/a\r\nX: y"):
            with pytest.raises(QuickServeError):
                remote.send(server.url, path, b"{}")


def test_models_are_listed_with_their_metadata(url):
    found = {document["name"]: document for document in remote.models(url)}
    assert found["tiny"]["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert found["tiny"]["version"] == "1"
    assert set(found) >= {"dtypes", "strings"}


def test_models_are_found_in_the_list_of_a_server_without_a_repository():
    metadata = answer(b'{"name":"b","inputs":[],"platform":"\\u001b[31mred"}')
    table = {"/v2/models": answer(b'{"models":["a","b"]}'), "/v2/models/b": metadata}
    with Hostile(pages(table)) as server:  # the key may not see a
        assert [(found["name"], found["platform"]) for found in remote.models(server.url)] == [("b", "[31mred")]


@pytest.mark.parametrize(
    ("model", "inputs", "kind", "code"),
    [
        ("nope", {}, NotFoundError, "server.not_there"),
        ("a/../tiny", {}, NotFoundError, "server.not_there"),
        ("tiny", {}, DataError, "data.missing_input"),
        ("tiny", {"x": [[1, 2]]}, DataError, "data.shape"),
        ("tiny", {"x": [["a", "b", "c", "d"]]}, DataError, "data.dtype"),
        ("tiny", {"x": np.ones((1, 4)), "z": 1}, DataError, "data.unknown_input"),
    ],
)
def test_what_does_not_fit_is_named(url, model, inputs, kind, code):
    with pytest.raises(kind) as caught:
        remote.predict(url, model, "", inputs)
    assert caught.value.code == code


METADATA = answer(b'{"name":"m","inputs":[{"name":"x","datatype":"FP32","shape":[-1]}]}')
BINARY = answer(b'{"name":"s","extensions":["binary_tensor_data"]}')


def outputs(*items, binary=b"", length=None):
    header = json.dumps({"outputs": list(items)}).encode()
    return answer(header + binary, f"Inference-Header-Content-Length: {len(header) if length is None else length}")


def tensor(**changes):
    return {"name": "y", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}} | changes


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"<html>"),
        answer(b"[" * 100_000),
        answer(b"[]"),
        answer(b'{"outputs":{}}'),
        answer(b'{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1]}]}'),
        answer(b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":["1"]}]}'),
        answer(b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[null]}]}'),
        outputs(tensor(), binary=b"1234567"),
        outputs(tensor(), binary=bytes(9)),
        outputs(tensor(shape=[2**40, 2**40])),
        outputs(tensor(shape=[-1]), binary=bytes(8)),
        outputs(tensor(shape="2"), binary=bytes(8)),
        outputs(tensor(datatype="EVIL"), binary=bytes(8)),
        outputs(tensor(parameters={"binary_data_size": -8}), binary=bytes(8)),
        outputs(tensor(parameters={"binary_data_size": 2**63})),
        outputs(tensor(), tensor(), binary=bytes(16)),
        outputs(tensor(datatype="BYTES"), binary=b"\xff\xff\xff\xff0000"),
        outputs(tensor(), binary=bytes(8), length=10**9),
        outputs(tensor(), binary=bytes(8), length="-1"),
        outputs(tensor(), binary=bytes(8), length="9" * 30),
    ],
)
def test_outputs_that_cannot_be_read_are_the_servers_fault(reply):
    table = {"/v2/models/m": METADATA, "/v2": BINARY, "/v2/models/m/infer": reply}
    with Hostile(pages(table)) as server, pytest.raises(UnavailableError) as caught:
        remote.predict(server.url, "m", "", {"x": [1.0]})
    assert caught.value.code == "server.answer"


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        ("400 Bad", DataError, "server.rejected"),
        ("403 No", NotPermittedError, "server.refused"),
        ("404 Gone", NotFoundError, "server.not_there"),
        ("500 Broken", UnavailableError, "server.failed"),
        ("503 Full", UnavailableError, "server.busy"),
    ],
)
def test_a_failed_request_says_why_in_the_servers_words(status, kind, code):
    reply = answer(b'{"error":"because \\u202eof me"}', status=status)
    table = {"/v2/models/m": METADATA, "/v2": BINARY, "/v2/models/m/infer": reply}
    with Hostile(pages(table)) as server, pytest.raises(kind) as caught:
        remote.predict(server.url, "m", "", {"x": [1.0]})
    assert caught.value.code == code
    assert "because of me" in caught.value.message + caught.value.detail


@pytest.mark.parametrize(
    "metadata",
    [b"null", b"[]", b'{"name":1}', b'{"name":"m","inputs":[1]}', b'{"name":"m","inputs":[{"name":"x"}]}', b"\xff"],
)
def test_metadata_that_cannot_be_read_is_the_servers_fault(metadata):
    with Hostile(pages({"/v2/models/m": answer(metadata)})) as server, pytest.raises(UnavailableError) as caught:
        remote.example(server.url, "m")
    assert caught.value.code == "server.answer"
