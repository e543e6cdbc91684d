"""Every bad request gets a clear error, and the next request works."""

import gzip
import itertools
import json
import zlib

import httpx
import pytest
from server_process import infer_body, request

pytestmark = pytest.mark.xdist_group("server")

PATH = "/v2/models/tiny/infer"
GOOD = infer_body([[1, 2, 3, 4]])


@pytest.fixture(autouse=True)
def works_afterwards(server):
    yield
    with server.connect() as connection:
        connection.send(request(PATH, GOOD))
        assert connection.reply().status == 200


def tensor(**changes):
    found = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]} | changes
    return {"inputs": [{key: value for key, value in found.items() if value is not ...}]}


def raw(text):
    return b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":' + text + b"}]}"


BODIES = {
    "empty": b"",
    "cut off": GOOD[:-1],
    "no JSON": b"hello",
    "a list": b"[]",
    "a number": b"1",
    "not UTF-8": b'{"id":"\xff","inputs":[]}',
    "a lone surrogate": b'{"id":"\\ud800","inputs":[]}',
    "a NUL": b"\x00",
    "100,000 levels": b"[" * 100_000 + b"]" * 100_000,
    "100,000 levels of data": raw(b"[" * 100_000 + b"]" * 100_000),
    "NaN": raw(b"[NaN,2,3,4]"),
    "Infinity": raw(b"[-Infinity,2,3,4]"),
    "1e999": raw(b"[1e999,2,3,4]"),
    "beyond float32": raw(b"[1e39,2,3,4]"),
    "null": raw(b"[null,2,3,4]"),
    "text": raw(b'["1",2,3,4]'),
    "objects": raw(b"[{},2,3,4]"),
    "ragged": raw(b"[[1,2,3],[4]]"),
    "nested otherwise": raw(b"[[1,2],[3,4]]"),
    "data is a number": raw(b"4"),
    "data is text": raw(b'"1234"'),
    "too few values": tensor(data=[1, 2, 3]),
    "too many values": tensor(data=[1] * 5),
    "no values": tensor(data=[]),
    "no data": tensor(data=...),
    "10^9 elements declared": tensor(shape=[250_000_000, 4]),
    "10^18 elements declared": tensor(shape=[10**18, 4]),
    "2^64 as a size": tensor(shape=[2**64, 4]),
    "a negative size": tensor(shape=[-1, 4]),
    "a fraction as a size": tensor(shape=[1.0, 4]),
    "true as a size": tensor(shape=[True, 4]),
    "text as a size": tensor(shape=["1", 4]),
    "a list as a size": tensor(shape=[[1], 4]),
    "no shape": tensor(shape=...),
    "a shape of 10,000 dims": tensor(shape=[1] * 10_000),
    "a wrong rank": tensor(shape=[4]),
    "a wrong fixed size": tensor(shape=[2, 2]),
    "a wrong datatype": tensor(datatype="INT64"),
    "an unknown datatype": tensor(datatype="COMPLEX"),
    "no datatype": tensor(datatype=...),
    "an unknown input": tensor(name="nope"),
    "a hostile name": tensor(name="x[/]y\x1b]52;c;aGk=\x07\u202e"),
    "an input twice": {"inputs": tensor()["inputs"] * 2},
    "no inputs": {"inputs": []},
    "inputs is an object": {"inputs": {}},
    "an input is null": {"inputs": [None]},
    "an unknown output": tensor() | {"outputs": [{"name": "nope"}]},
    "an output twice": tensor() | {"outputs": [{"name": "y"}, {"name": "y"}]},
    "outputs is text": tensor() | {"outputs": "y"},
    "classification": tensor() | {"outputs": [{"name": "y", "parameters": {"classification": 3}}]},
    "parameters is a list": tensor() | {"parameters": []},
    "a long id": tensor() | {"id": "x" * 2000},
    "a number as id": tensor() | {"id": 4},
    "shared memory": tensor(data=..., parameters={"shared_memory_region": "/etc/passwd"}),
    "binary data beyond the body": tensor(data=..., parameters={"binary_data_size": 16}),
}


@pytest.mark.parametrize("cold", [False, True], ids=["hot", "cold"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_bad_body_is_a_400_that_says_why(server, body, cold):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with server.connect() as connection:
        connection.send(request(PATH + ("?cold" if cold else ""), data))
        reply = connection.reply()
        assert reply.status == 400, reply.body
        text = reply.json()["error"]
        assert len(text) > 15
        assert "Traceback" not in text
        assert ".py" not in text
        assert "\x1b" not in text
        connection.send(request(PATH, GOOD))
        assert connection.reply().status == 200


MISFITS = ["1.5", "300000000000000000000", "-129e0", '"a"', "null", "[1]", "18446744073709551616"]
FITS = {("BYTES", '"a"'), ("FP16", "1.5"), ("FP16", "-129e0")}


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        pair
        for pair in itertools.product(["INT8", "UINT64", "INT64", "BOOL", "BYTES", "FP16"], MISFITS)
        if pair not in FITS
    ],
)
def test_values_that_do_not_fit_their_datatype_are_refused(server, datatype, value):
    inputs = [
        {"name": f"in_{kind}", "shape": [1, 2], "datatype": kind, "data": default}
        for kind, default in {"BOOL": [True, False], "BYTES": ["a", "b"]}.items()
    ]
    kinds = ("UINT8", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64")
    inputs += [{"name": f"in_{kind}", "shape": [1, 2], "datatype": kind, "data": [0, 1]} for kind in kinds]
    for item in inputs:
        if item["datatype"] == datatype:
            item["data"] = [item["data"][0], "@"]
    body = json.dumps({"inputs": inputs}).replace('"@"', value).encode()
    reply = httpx.post(f"{server.url}/v2/models/dtypes/infer", content=body)
    assert reply.status_code == 400, reply.text
    assert f"in_{datatype}" in reply.json()["error"] or "JSON" in reply.json()["error"]


def binary(header, data, length=None):
    text = json.dumps(header).encode()
    line = f"Inference-Header-Content-Length: {len(text) if length is None else length}"
    return request(PATH, text + data, headers=[line])


def sized(size, shape=(1, 4)):
    return tensor(data=..., shape=list(shape), parameters={"binary_data_size": size})


@pytest.mark.parametrize(
    "data",
    [
        binary(sized(-1), bytes(16)),
        binary(sized(17), bytes(16)),
        binary(sized(10**30), bytes(16)),
        binary(sized("16"), bytes(16)),
        binary(sized(15), bytes(16)),
        binary(sized(16), bytes(20)),
        binary(sized(16, (250_000_000, 4)), bytes(16)),
        binary(sized(16), bytes(16), length=10**9),
        binary(sized(16), bytes(16), length="9" * 30),
        binary(sized(16), bytes(16), length=-5),
        binary(sized(16), bytes(16), length="0x10"),
        binary(sized(16), bytes(16), length=3),
        binary(sized(16), bytes(16), length=0),
    ],
)
def test_bad_binary_lengths_are_refused(server, data):
    with server.connect() as connection:
        connection.send(data)
        reply = connection.reply()
        assert reply.status == 400, reply.body
        assert reply.json()["error"]


def string_input(data: bytes, count: int):
    header = {
        "inputs": [
            {"name": "text", "shape": [count], "datatype": "BYTES", "parameters": {"binary_data_size": len(data)}}
        ]
    }
    text = json.dumps(header).encode()
    return {
        "url": "/v2/models/strings/infer",
        "content": text + data,
        "headers": {"Inference-Header-Content-Length": str(len(text))},
    }


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"\x05\x00\x00\x00abc", 1),
        (b"\xff\xff\xff\xffabc", 1),
        (b"\x01\x00\x00\x00a\x01", 1),
        (b"\x01\x00\x00\x00a", 2),
        (b"\x01\x00\x00\x00\xff", 1),
        (b"", 10**12),
    ],
)
def test_bad_string_lengths_are_refused(server, data, count):
    with httpx.Client(base_url=server.url) as client:
        reply = client.post(**string_input(data, count))
        assert reply.status_code == 400
        assert "text" in reply.json()["error"]


def test_nan_and_infinity_travel_in_binary_and_are_refused_in_json(server):
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [-1, 0, 1, 2]}]}
    url = f"{server.url}/v2/models/logarithm/infer"
    reply = httpx.post(url, json=body)
    assert reply.status_code == 400
    assert "NaN or an infinity" in reply.json()["error"]
    reply = httpx.post(url, json=body | {"parameters": {"binary_data_output": True}})
    assert reply.status_code == 200


def test_a_zip_bomb_stops_at_the_limit(server):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    assert len(bomb) < 1 << 20
    reply = httpx.post(f"{server.url}{PATH}", content=bomb, headers={"Content-Encoding": "gzip"})
    assert reply.status_code == 413


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip"])
def test_broken_and_unknown_encodings_are_refused(server, encoding):
    reply = httpx.post(f"{server.url}{PATH}", content=b"\x00" + GOOD, headers={"Content-Encoding": encoding})
    assert reply.status_code == 400


def test_bytes_after_the_compressed_body_are_refused(server):
    content = gzip.compress(GOOD) + b"more"
    reply = httpx.post(f"{server.url}{PATH}", content=content, headers={"Content-Encoding": "gzip"})
    assert reply.status_code == 400


def test_a_wrong_content_type_does_not_matter(server):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "\t", "x" * 500):
        with server.connect() as connection:
            connection.send(request(PATH, GOOD, headers=[f"Content-Type: {kind}"]))
            assert connection.reply().status == 200


def test_duplicate_keys_take_the_last(server):
    body = GOOD[:-1] + b',"id":"one","id":"two"}'
    assert httpx.post(f"{server.url}{PATH}", content=body).json()["id"] == "two"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_wrong_method_is_405(server, method):
    reply = httpx.request(method, f"{server.url}{PATH}")
    assert reply.status_code == 405
    assert reply.headers["allow"] == "POST"
    assert "error" in reply.json()


def test_a_method_override_is_ignored(server):
    reply = httpx.get(f"{server.url}{PATH}", headers={"X-HTTP-Method-Override": "POST"})
    assert reply.status_code == 405


NAMES = [
    "../x",
    "..%2fx",
    "%2e%2e/x",
    "%252e%252e",
    "a%00b",
    "%ff",
    "%c0%ae",
    "CON",
    "x[/]y",
    "a" * 4097,
    "%E2%80%AEx",
    "%1b[31m",
]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_model_names_are_unknown(server, name):
    with server.connect() as connection:
        for method, suffix in (("POST", "infer"), ("GET", "ready")):
            connection.send(request(f"/v2/models/{name}/{suffix}", b"", method=method))
            reply = connection.reply()
            assert reply.status in (400, 404)
            assert "\x1b" not in reply.json()["error"]
