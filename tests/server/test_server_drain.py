"""A stop loses no accepted request; ends are clean."""

import itertools
import json
import signal
import threading

import pytest
from server_process import eventually, infer_body, request, running

pytestmark = pytest.mark.xdist_group("server")

PATH = "/v2/models/tiny/infer"


def slow_request() -> bytes:
    tensor = {"name": "x", "shape": [1, 8, 512], "datatype": "FP32", "data": [0.5] * 4096}
    return request("/v2/models/slow/infer", json.dumps({"inputs": [tensor]}).encode())


class Client(threading.Thread):
    """Sends one request after another; every one it sent must be answered, unless the server announced the end."""

    def __init__(self, server, data: bytes) -> None:
        super().__init__()
        self.connection, self.data = server.connect(), data
        self.answered = 0
        self.problem = None

    def run(self) -> None:
        try:
            for _ in itertools.count():
                self.connection.send(self.data)
                reply = self.connection.reply()
                assert reply.status == 200, reply.body
                self.answered += 1
                if reply.headers.get("connection") == "close":
                    return
        except Exception as error:
            self.problem = error
        finally:
            self.connection.socket.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_loses_no_request(model_paths, tmp_path, number):
    with running([model_paths["tiny"], model_paths["slow"]], tmp_path / "log") as server:
        clients = [Client(server, request(PATH, infer_body([[1, 2, 3, 4]]))) for _ in range(16)]
        clients += [Client(server, slow_request()) for _ in range(4)]
        clients += [Client(server, request("/v2/models/tiny/infer?cold", infer_body([[1, 2, 3, 4]]))) for _ in range(4)]
        for client in clients:
            client.start()
        eventually(lambda: all(client.answered > 3 for client in clients), "load on every connection")
        server.terminate(number)
        for client in clients:
            client.join()
        assert server.wait() == 0
        assert [client.problem for client in clients] == [None] * len(clients)
        assert "Traceback" not in server.log.read_text()


def test_while_draining_the_server_is_not_ready_and_finishes_what_it_has(model_paths, tmp_path):
    with running([model_paths["tiny"]], tmp_path / "log", drain_delay_s=3) as server:
        body = infer_body([[1, 2, 3, 4]])
        half, health, idle = server.connect(), server.connect(), server.connect()
        half.send(request(PATH, body)[:-5])
        idle.send(request("/health", method="GET"))
        assert idle.reply().status == 200
        server.terminate()

        def ready():
            with server.connect() as connection:
                connection.send(request("/v2/health/ready", method="GET"))
                return connection.reply()

        reply = eventually(lambda: (found := ready()).status == 503 and found, "not ready")
        assert reply.json() == {"ready": False, "live": True}
        assert reply.headers["retry-after"] == "1"
        health.send(request("/health", method="GET"))
        assert health.reply().status == 503
        half.send(request(PATH, body)[-5:])
        reply = half.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert idle.closed()
        assert server.wait() == 0


def test_a_request_that_is_still_coming_is_awaited(model_paths, tmp_path):
    with running([model_paths["tiny"]], tmp_path / "log", drain_delay_s=0) as server:
        body = infer_body([[1, 2, 3, 4]])
        half, idle = server.connect(), server.connect()
        half.send(request(PATH, body)[:-5])
        idle.send(request("/health", method="GET"))
        assert idle.reply().status == 200
        server.terminate()
        assert idle.closed()  # the listening socket and idle connections are closed by now
        half.send(request(PATH, body)[-5:])
        assert half.reply().status == 200
        assert server.wait() == 0
