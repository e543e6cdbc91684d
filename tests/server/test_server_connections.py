"""Connections: whatever way requests are cut, mixed and ordered, each gets its own answer, in order."""

import json
import threading

import httpx
import numpy as np
import onnxruntime
import pytest
from server_process import infer_body, request, running

pytestmark = pytest.mark.xdist_group("server")

PATH = "/v2/models/tiny/infer"


@pytest.fixture(scope="module", params=["server", "strict_server"], ids=["uvloop", "asyncio"])
def any_server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def expect(model_paths):
    session = onnxruntime.InferenceSession(model_paths["tiny"], providers=["CPUExecutionProvider"])

    def outputs(rows):
        return session.run(None, {"x": np.array(rows, np.float32)})[0]

    return outputs


def rows_of(reply):
    (output,) = reply.json()["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


def test_pipelined_requests_are_answered_in_order(any_server, expect):
    batches = [[[index, 1, 2, 3]] for index in range(200)]
    with any_server.connect() as connection:
        connection.send(b"".join(request(PATH, infer_body(rows, id=str(i))) for i, rows in enumerate(batches)))
        for index, rows in enumerate(batches):
            reply = connection.reply()
            assert reply.json()["id"] == str(index)
            np.testing.assert_allclose(rows_of(reply), expect(rows), rtol=1e-5, atol=1e-5)


def test_a_pipeline_of_hot_cold_and_wrong_requests_keeps_its_order(any_server):
    parts = [
        (request(PATH, infer_body([[1, 2, 3, 4]])), 200),
        (request("/v2/health/live", method="GET"), 200),
        (request(PATH, b"{"), 400),
        (request("/nowhere", method="GET"), 404),
        (request("/v2/models/none/infer", infer_body([[1, 2, 3, 4]])), 404),
        (request("/predict", b"[[1,2,3,4]]"), 200),
        (request(PATH, infer_body([[1, 2, 3, 4]])), 200),
        (request("/v2/models/tiny/ready", method="GET"), 200),
    ]
    with any_server.connect() as connection:
        connection.send(b"".join(data for data, _ in parts * 20))
        assert [connection.reply().status for _ in parts * 20] == [status for _, status in parts * 20]


def test_a_slow_request_does_not_let_later_ones_overtake(server):
    data = json.dumps({"inputs": [{"name": "x", "shape": [1, 8, 512], "datatype": "FP32", "data": [0.5] * 4096}]})
    with server.connect() as connection:
        connection.send(
            request("/v2/models/slow/infer", data.encode())
            + request(PATH, infer_body([[1, 2, 3, 4]]))
            + request("/v2/health/live", method="GET")
            + request("/v2/models/slow/infer", data.encode())
        )
        assert connection.reply().json()["model_name"] == "slow"
        assert connection.reply().json()["model_name"] == "tiny"
        assert connection.reply().json() == {"live": True}
        assert connection.reply().json()["model_name"] == "slow"


@pytest.mark.parametrize("step", [1, 7, 50])
def test_requests_may_come_in_any_pieces(any_server, expect, step):
    data = request(PATH, infer_body([[4, 3, 2, 1]])) + request("/v2/health/live", method="GET")
    data += request("/v2/repository/index", b"{}") + request(PATH, infer_body([[1, 2, 3, 4]]))
    with any_server.connect() as connection:
        for start in range(0, len(data), step):
            connection.send(data[start : start + step])
        np.testing.assert_allclose(rows_of(connection.reply()), expect([[4, 3, 2, 1]]), rtol=1e-5)
        assert connection.reply().json() == {"live": True}
        assert connection.reply().json()[0]["state"] == "READY"
        np.testing.assert_allclose(rows_of(connection.reply()), expect([[1, 2, 3, 4]]), rtol=1e-5)


def test_chunked_bodies_are_taken(any_server, expect):
    body = infer_body([[1, 2, 3, 4]])
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, body[i : i + 1]) for i in range(len(body))) + b"0\r\n\r\n"
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with any_server.connect() as connection:
        connection.send(request(PATH, body) + head + chunks)
        for _ in range(2):
            np.testing.assert_allclose(rows_of(connection.reply()), expect([[1, 2, 3, 4]]), rtol=1e-5)
        assert connection.closed()


def test_expect_100_continue_is_answered_before_the_body(any_server, expect):
    body = infer_body([[1, 2, 3, 4]])
    with any_server.connect() as connection:
        for _ in range(2):
            connection.send(request(PATH, body, headers=["Expect: 100-continue"])[: -len(body)])
            assert connection.reply().status == 100
            connection.send(body)
            np.testing.assert_allclose(rows_of(connection.reply()), expect([[1, 2, 3, 4]]), rtol=1e-5)


def test_http_1_0_is_answered_and_closed(any_server):
    body = infer_body([[1, 2, 3, 4]])
    for head in (f"POST {PATH} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n", "GET /health HTTP/1.0\r\n\r\n"):
        with any_server.connect() as connection:
            connection.send(head.encode() + (body if head.startswith("POST") else b""))
            assert connection.reply().status == 200
            assert connection.closed()


def test_connection_close_is_honoured_on_both_paths(any_server):
    for data in (
        request(PATH, infer_body([[1, 2, 3, 4]]), headers=["Connection: close"]),
        request("/health", method="GET", headers=["Connection: close"]),
    ):
        with any_server.connect() as connection:
            connection.send(data)
            reply = connection.reply()
            assert (reply.status, reply.headers["connection"]) == (200, "close")
            assert connection.closed()


def test_a_half_closed_connection_still_gets_its_answer(any_server):
    import socket

    for data in (request(PATH, infer_body([[1, 2, 3, 4]])), request("/health", method="GET")):
        with any_server.connect() as connection:
            connection.send(data)
            connection.socket.shutdown(socket.SHUT_WR)
            assert connection.reply().status == 200
            assert connection.closed()


def test_a_half_closed_pipeline_still_gets_all_its_answers(any_server):
    import socket

    hot, cold = request(PATH, infer_body([[1, 2, 3, 4]])), request("/health", method="GET")
    for parts in ([cold] * 5, [hot, cold] * 5, [cold, cold, hot], [hot] * 200):
        with any_server.connect() as connection:
            connection.send(b"".join(parts))
            connection.socket.shutdown(socket.SHUT_WR)
            assert [connection.reply().status for _ in parts] == [200] * len(parts)
            assert connection.closed()


def test_an_offer_to_upgrade_is_passed_over(any_server):
    offer = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"]
    with any_server.connect() as connection:
        for _ in range(2):
            connection.send(request(PATH, infer_body([[1, 2, 3, 4]]), headers=offer))
            assert connection.reply().status == 200
            connection.send(request("/health", method="GET", headers=offer))
            assert connection.reply().status == 200
            connection.send(request("/v2/repository/index", b"{}", headers=offer))
            assert connection.reply().status == 200


def test_200_connections_at_once_each_get_their_own_rows(server, expect):
    connections = [server.connect() for _ in range(200)]
    failures = []

    def talk(part):
        try:
            for turn in range(5):
                for index in part:
                    rows = [[index, turn, -index, 0.5]] * (1 + index % 3)
                    connections[index].send(request(PATH, infer_body(rows, id=f"{index}/{turn}")))
                for index in part:
                    reply = connections[index].reply()
                    rows = [[index, turn, -index, 0.5]] * (1 + index % 3)
                    assert reply.json()["id"] == f"{index}/{turn}"
                    np.testing.assert_allclose(rows_of(reply), expect(rows), rtol=1e-4, atol=1e-4)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=talk, args=(range(start, 200, 4),)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for connection in connections:
        connection.socket.close()
    assert not failures, failures[0]
    batches = httpx.get(f"{server.url}/metrics").text
    assert 'qsml_inference_batch_size_bucket{model="tiny",version="1",le="+Inf"}' in batches


def test_the_slow_path_answers_what_the_hot_path_answers(any_server):
    body = infer_body([[1, 2, 3, 4]])
    with any_server.connect() as connection:
        connection.send(request(PATH, body))
        hot = connection.reply()
        for path in ("/v2/models/t%69ny/infer", PATH + "?x=1"):
            connection.send(request(path, body))
            cold = connection.reply()
            assert (cold.status, cold.body) == (hot.status, hot.body)
            assert cold.headers["content-type"] == hot.headers["content-type"]


def test_one_bad_request_does_not_spoil_its_neighbours_in_a_batch(server):
    good = json.dumps({"inputs": [{"name": "i", "shape": [1], "datatype": "INT64", "data": [3]}]}).encode()
    bad = good.replace(b"[3]", b"[77]")
    with server.connect() as connection:
        path = "/v2/models/lookup/infer"
        connection.send((request(path, good) + request(path, bad)) * 8)
        replies = [connection.reply() for _ in range(16)]
    assert [reply.status for reply in replies] == [200, 400] * 8
    assert all(reply.json()["outputs"][0]["data"] == [6, 7] for reply in replies[::2])
    assert b"/" not in replies[1].body.replace(b"\\/", b"")


def test_a_client_that_leaves_early_harms_nobody(server):
    data = json.dumps({"inputs": [{"name": "x", "shape": [1, 8, 512], "datatype": "FP32", "data": [0.5] * 4096}]})
    for _ in range(5):
        with server.connect() as connection:
            connection.send(request("/v2/models/slow/infer", data.encode()) * 3 + b"POST /v2/mo")
    with server.connect() as connection:
        connection.send(request(PATH, infer_body([[1, 2, 3, 4]])))
        assert connection.reply().status == 200


def test_a_full_queue_refuses_with_503_and_the_time_to_retry(model_paths, tmp_path):
    data = json.dumps({"inputs": [{"name": "x", "shape": [1, 8, 512], "datatype": "FP32", "data": [0.5] * 4096}]})
    with running([model_paths["slow"]], tmp_path / "log", queue_limit=2) as server, server.connect() as connection:
        connection.send(request("/v2/models/slow/infer", data.encode()) * 40)
        replies = [connection.reply() for _ in range(40)]
        assert {reply.status for reply in replies} == {200, 503}
        refused = next(reply for reply in replies if reply.status == 503)
        assert refused.headers["retry-after"] == "1"
        assert "too many requests" in refused.json()["error"]
        connection.send(request("/v2/models/slow/infer", data.encode()))
        assert connection.reply().status == 200
