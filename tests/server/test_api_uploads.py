"""Uploads to `/api/v1`: streamed, limited, whole or not at all; asked once more they are done once."""

import base64
import hashlib
import itertools
import socket
import threading
import time

import numpy as np
import pytest
from api_server import Gate, as_key, doubled
from onnx import TensorProto, helper
from onnx.external_data_helper import convert_model_to_external_data
from server_models import model, save, value, weight
from test_api_catalog import code
from work_server import work_server

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.server.api import uploads
from quickserveml_tui.storage.kept_answers import KEEP_S, MAX_KEYS, KeptAnswers

LIMIT = 256 * 1024
_numbers = itertools.count(1000)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with work_server(tmp_path_factory.mktemp("uploads"), gatekeeper=Gate(), max_upload_bytes=LIMIT) as running:
        yield running


def names(server):
    return {item["name"] for item in server.get("/models", params={"limit": 1000}).json()["models"]}


def staging(server):
    return list((server.home / "blobs" / "staging").iterdir())


def upload(server, name, content, **more):
    params = {"name": name} | more.pop("params", {})
    return server.post("/models", params=params, content=content, **more)


def test_an_upload_becomes_a_version_that_runs_and_downloads_as_it_came(server):
    content = doubled(next(_numbers))
    made = upload(server, "whole", content, params={"label": "1.0.0", "tag": ["a", "b"], "alias": "prod"})
    assert made.status_code == 201, made.text
    version = made.json()["version"]
    assert (version["runnable"], version["label"], version["aliases"]) == (True, "1.0.0", ["prod"])
    assert version["digest"] == hashlib.sha256(content).hexdigest()
    got = server.client.get(made.headers["location"] + "/artifact")
    assert got.content == content
    assert (got.headers["etag"], int(got.headers["content-length"])) == (f'"{version["digest"]}"', len(content))
    assert staging(server) == []


def test_a_download_goes_on_where_it_was_broken_off(server):
    content = doubled(next(_numbers))
    upload(server, "ranges", content)
    path, size = "/models/ranges/versions/1/artifact", len(content)
    whole = server.get(path)
    for wanted, part in (
        ("0-9", content[:10]),
        ("10-", content[10:]),
        ("-5", content[-5:]),
        (f"5-{size * 2}", content[5:]),
    ):
        got = server.get(path, headers={"Range": f"bytes={wanted}", "If-Range": whole.headers["etag"]})
        assert (got.status_code, got.content) == (206, part)
        assert got.headers["content-range"].endswith(f"/{size}")
    for tag in ('"other"', f"W/{whole.headers['etag']}", "Tue, 24 Nov 2026 00:00:00 GMT"):
        got = server.get(path, headers={"Range": "bytes=0-9", "If-Range": tag})
        assert (got.status_code, got.content) == (200, content)
    for beyond in (f"{size}-", f"{size * 9}-{size * 10}", "-0"):
        got = server.get(path, headers={"Range": f"bytes={beyond}"})
        assert code(got, 416) == "range.invalid"
        assert got.headers["content-range"] == f"bytes */{size}"
    assert server.get(path, headers={"Range": f"bytes={size}-", "If-Range": '"other"'}).content == content
    for odd in ("bytes=9-3", "bytes=0-1,4-5", "lines=1-2", "bytes=-", "junk"):
        assert server.get(path, headers={"Range": odd}).content == content
    for wanted in ({}, {"Range": "bytes=0-9"}, {"Range": f"bytes={size}-"}):
        head = server.client.head(f"/api/v1{path}", headers=wanted)
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(size))
        assert (head.headers["etag"], head.headers["accept-ranges"]) == (whole.headers["etag"], "bytes")
        assert "content-range" not in head.headers
    assert server.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304


def test_a_model_with_external_data_goes_out_and_comes_in_as_a_bundle(server, tmp_path):
    weights = [weight("w", np.ones((1, 4), np.float32))]
    made = model([helper.make_node("Add", ["x", "w"], ["y"])], [value("x")], [value("y")], weights)
    convert_model_to_external_data(made, location="weights.bin", size_threshold=0)
    save(made, tmp_path / "ext.onnx")
    server.workbench.catalog.add(AddRequest(str(tmp_path / "ext.onnx"), name="ext"))
    path = "/models/ext/versions/1/artifact"
    assert code(server.get(path, params={"format": "onnx"}), 400) == "artifact.external"
    bundle = server.get(path)
    assert bundle.content.startswith(b"PK")
    assert bundle.content == server.get(path, params={"format": "bundle"}).content
    copied = upload(server, "ext-copy", bundle.content)
    assert copied.status_code == 201, copied.text
    assert copied.json()["version"]["digest"] == server.get("/models/ext").json()["latest"]["digest"]
    refused = upload(server, "ext-other", bundle.content, params={"label": "1.0.0"})
    assert code(refused, 400) == "upload.bundle"


def test_a_model_without_its_external_data_says_to_upload_a_bundle(server):
    weights = [weight("w", np.ones((1, 4), np.float32))]
    made = model([helper.make_node("Add", ["x", "w"], ["y"])], [value("x")], [value("y")], weights)
    convert_model_to_external_data(made, location="weights.bin", size_threshold=0)
    made.graph.initializer[0].ClearField("raw_data")
    answer = upload(server, "lonely", made.SerializeToString())
    assert code(answer, 400) == "model.external_missing"
    assert "without its external data: The file “weights.bin”" in answer.json()["detail"]
    assert "Upload a bundle" in answer.json()["hint"]
    assert "lonely" not in names(server)


def test_a_digest_that_differs_is_told_beside_the_one_that_was_sent(server):
    content = doubled(next(_numbers))
    wrong, right = "0" * 64, hashlib.sha256(content).hexdigest()
    answer = upload(server, "digest", content, headers={"X-Content-SHA256": wrong})
    assert code(answer, 400) == "upload.digest"
    assert wrong in answer.json()["detail"]
    assert right in answer.json()["detail"]
    answer = upload(server, "digest", content, headers={"X-Content-SHA256": "zz"})
    assert "64 hex digits" in answer.json()["hint"]


def test_a_file_that_reads_its_data_from_elsewhere_is_rejected(server, tmp_path):
    made = model([helper.make_node("Add", ["x", "w"], ["y"])], [value("x")], [value("y")])
    tensor = made.graph.initializer.add()
    tensor.name, tensor.data_type, tensor.data_location = "w", TensorProto.FLOAT, TensorProto.EXTERNAL
    tensor.dims.extend([1, 4])
    for place in ("../../../registry.json", "/etc/passwd", "weights.bin"):
        del tensor.external_data[:]
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", place
        answer = upload(server, "outside", made.SerializeToString())
        assert answer.status_code == 400, place
        assert str(server.home) not in answer.text
        assert "passwd:" not in answer.text
    assert "outside" not in names(server)
    assert staging(server) == []


def test_a_model_that_does_not_run_is_kept_with_the_reason(server):
    broken = model([helper.make_node("Nowhere", ["x"], ["y"], domain="no.such")], [value("x")], [value("y")])
    broken.opset_import.add(domain="no.such", version=1)
    made = upload(server, "broken", broken.SerializeToString())
    assert made.status_code == 201, made.text
    version = made.json()["version"]
    assert (version["runnable"], version["status"]) == (False, "unrunnable")
    assert version["trial"]["reason"]
    assert code(server.post("/models/broken/promote"), 400) == "model.unrunnable"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain text",
        b"<html></html>",
        b"PK\3\4nothing",
        bytes(range(256)),
        b"\x08\x08",
        b"version https://git-lfs",
    ],
)
def test_what_is_no_model_is_refused_and_leaves_nothing(server, content):
    before = names(server)
    answer = upload(server, "rubbish", content)
    assert answer.status_code == 400, answer.text
    assert answer.json()["hint"]
    assert str(server.home) not in answer.text
    assert names(server) == before
    assert staging(server) == []


def test_every_prefix_of_a_model_is_refused_or_whole(server):
    content = doubled(next(_numbers))
    for end in range(1, len(content), 23):
        answer = upload(server, "prefix", content[:end])
        assert answer.status_code == 400, (end, answer.text)
    assert "prefix" not in names(server)


def test_a_file_beyond_the_limit_is_refused_with_and_without_a_length(server):
    large = b"\x08" * (LIMIT + 1)
    assert code(upload(server, "large", large), 413) == "http.too_large"
    assert code(upload(server, "large", iter([large[:100], large[100:]])), 413) == "http.too_large"
    assert staging(server) == []


def test_a_wrong_digest_registers_nothing_and_a_right_one_passes(server):
    content = doubled(next(_numbers))
    digest = hashlib.sha256(content)
    wrong = {"X-Content-SHA256": hashlib.sha256(b"").hexdigest()}
    assert code(upload(server, "digest", content, headers=wrong), 400) == "upload.digest"
    for odd in ({"X-Content-SHA256": "zz"}, {"Content-Digest": "sha-256=:???:"}, {"Content-Digest": "sha-256=:AA==:"}):
        assert code(upload(server, "digest", content, headers=odd), 400) == "upload.digest"
    assert "digest" not in names(server)
    right = {
        "X-Content-SHA256": digest.hexdigest(),
        "Content-Digest": f"sha-256=:{base64.b64encode(digest.digest()).decode()}:",
    }
    assert upload(server, "digest", content, headers=right).status_code == 201


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Content-Type": "application/json"}, "upload.type"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, "upload.type"),
        ({"Content-Encoding": "gzip"}, "upload.encoding"),
    ],
)
def test_a_body_in_another_form_is_refused(server, headers, expected):
    assert code(upload(server, "form", doubled(), headers=headers), 415) == expected


def test_the_same_file_again_is_no_new_version(server):
    content = doubled(next(_numbers))
    upload(server, "same", content)
    again = server.post("/models/same/versions", content=content)
    assert (again.status_code, again.json()["existed"]) == (200, True)
    assert server.get("/models/same").json()["versions"] == [1]


def test_a_name_that_is_taken_is_refused_before_the_file_is_read(server):
    upload(server, "taken", doubled(next(_numbers)))
    assert code(upload(server, "taken", doubled(next(_numbers))), 409) == "name.taken"


def test_a_broken_off_upload_leaves_nothing(server):
    before = names(server)
    host, port = "127.0.0.1", server.client.base_url.port
    with socket.create_connection((host, port)) as connection:
        head = f"POST /api/v1/models?name=half HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 100000\r\n\r\n"
        connection.sendall(head.encode() + b"\x08" * 1000)
        until(lambda: staging(server))
    until(lambda: not staging(server))
    assert names(server) == before


def test_uploads_beyond_what_a_server_takes_at_once_are_refused_fast(server):
    host, port = "127.0.0.1", server.client.base_url.port
    head = f"POST /api/v1/models?name=wait HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 100000\r\n\r\n".encode()
    waiting = [socket.create_connection((host, port)) for _ in range(uploads.MAX_UPLOADS)]
    try:
        for connection in waiting:
            connection.sendall(head + b"\x08")
        until(lambda: len(staging(server)) == uploads.MAX_UPLOADS)
        busy = upload(server, "busy", doubled())
        assert code(busy, 503) == "upload.busy"
        assert "retry-after" in busy.headers
        assert server.get("/models").status_code == 200
    finally:
        for connection in waiting:
            connection.close()
    until(lambda: not staging(server))
    assert upload(server, "after", doubled(next(_numbers))).status_code == 201


def until(condition, deadline_s=20.0):
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.01)


# ---- idempotency ----------------------------------------------------------------------------------------------------


def test_the_same_upload_under_one_key_is_done_once(server):
    content, key = doubled(next(_numbers)), {"Idempotency-Key": "upload-1"}
    first = upload(server, "once", content, headers=key)
    again = upload(server, "once", content, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" in again.headers


def test_another_request_under_the_same_key_is_refused(server):
    key = {"Idempotency-Key": "upload-2"}
    assert upload(server, "key-a", doubled(next(_numbers)), headers=key).status_code == 201
    assert code(upload(server, "key-a", doubled(next(_numbers)), headers=key), 422) == "idempotency.mismatch"
    assert code(upload(server, "key-b", doubled(next(_numbers)), headers=key), 422) == "idempotency.mismatch"
    assert "key-b" not in names(server)


def test_a_refusal_is_given_again_too(server):
    key = {"Idempotency-Key": "upload-3"}
    first = upload(server, "refused", b"no model", headers=key)
    again = upload(server, "refused", b"no model", headers=key)
    assert (first.status_code, again.status_code) == (400, 400)
    assert again.json() == first.json()
    assert "idempotency-replayed" in again.headers


def test_keys_of_two_callers_do_not_meet(server):
    content = doubled(next(_numbers))
    ours = upload(server, "caller-a", content, headers={"Idempotency-Key": "shared"})
    theirs = upload(server, "caller-b", content, headers={"Idempotency-Key": "shared"} | as_key("other"))
    assert (ours.status_code, theirs.status_code) == (201, 201)
    assert theirs.json()["model"]["name"] == "caller-b"


def test_a_promotion_under_a_key_happens_once(server):
    upload(server, "moves", doubled(next(_numbers)))
    key = {"Idempotency-Key": "promote-1"}
    first = server.post("/models/moves/promote", json={"alias": "beta"}, headers=key)
    server.delete("/models/moves/aliases/beta")
    again = server.post("/models/moves/promote", json={"alias": "beta"}, headers=key)
    assert again.json() == first.json()
    assert server.get("/models/moves/aliases/beta").status_code == 404


@pytest.mark.parametrize("key", ["with space", "é".encode(), "x" * 256])
def test_a_key_that_is_none_is_refused(server, key):
    answer = server.post("/models/tiny/promote", headers={"Idempotency-Key": key})
    assert answer.status_code == 400


def test_only_one_of_many_equal_requests_at_once_is_done(server):
    upload(server, "racing", doubled(next(_numbers)))
    content, answers = doubled(next(_numbers)), []

    def send():
        answers.append(
            server.post(
                "/models/racing/versions",
                params={"label": "9.9.9"},
                content=content,
                headers={"Idempotency-Key": "race"},
            )
        )

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert sum(answer.status_code == 201 and "idempotency-replayed" not in answer.headers for answer in answers) == 1


def test_kept_answers_end_after_a_day_and_the_oldest_of_many_goes_first(tmp_path):
    now = [1000.0]
    store = KeptAnswers(tmp_path / "answers.db", clock=lambda: now[0])
    alive = {"me"}.__contains__

    def claim(key):
        return store.claim("caller", key, "request", "me", alive)

    assert claim("first") is None
    store.keep("caller", "first", "me", status=200, headers=b"{}", body=b"1")
    assert claim("first").body == b"1"
    for number in range(MAX_KEYS):
        now[0] += 1
        assert claim(f"key-{number}") is None
        store.keep("caller", f"key-{number}", "me", status=200, headers=b"{}", body=b"")
    assert claim(f"key-{MAX_KEYS - 1}") is not None
    assert claim("first") is None
    now[0] += KEEP_S + 1
    assert claim(f"key-{MAX_KEYS - 1}") is None


def test_the_key_of_a_process_that_died_can_be_taken_over(tmp_path):
    store = KeptAnswers(tmp_path / "answers.db")
    assert store.claim("caller", "key", "request", "dead", lambda _owner: True) is None
    assert store.claim("caller", "key", "request", "new", lambda _owner: True).status is None
    assert store.claim("caller", "key", "request", "new", lambda _owner: False) is None
    store.keep("caller", "key", "dead", status=200, headers=b"{}", body=b"late")
    assert store.claim("caller", "key", "request", "new", lambda _owner: True).status is None


def test_a_damaged_file_of_answers_is_begun_anew(tmp_path):
    path = tmp_path / "answers.db"
    path.write_bytes(b"no database at all, but long enough to look like one" * 50)
    assert KeptAnswers(path).claim("caller", "key", "request", "me", bool) is None
