"""What waits: in order of priority, not too long, not too much; and what is kept for equal requests."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from server_models import model, slow, tiny, value, weight
from server_process import infer_body, request, running

from quickserveml_tui.graph.chance import depends_on_inputs_only
from quickserveml_tui.server.answers import Answer
from quickserveml_tui.server.cache import AnswerCache
from quickserveml_tui.server.queues import WaitingRequests
from quickserveml_tui.wire.datatypes import TensorType, tensor_type
from quickserveml_tui.wire.oip_response import ResponseEncoder
from quickserveml_tui.wire.requests import OutputPlan

onnx = pytest.importorskip("onnx")
INFER = "/v2/models/tiny/infer"


@dataclass
class Asked:
    priority: int = 0


@dataclass
class Waiting:
    arrived: int
    priority: int = 0
    deadline: int = 0
    gone: bool = False
    request: Asked = field(init=False)

    def __post_init__(self):
        self.request = Asked(self.priority)


def taken(queue):
    return [queue.pop().arrived for _ in range(queue.size)]


def test_priority_1_goes_first_2_is_usual_and_higher_ones_wait_behind():
    queue = WaitingRequests(10, 10**9)
    for arrived, priority in enumerate((0, 5, 3, 1, 2, 0, 1, 3)):
        assert queue.add(Waiting(arrived, priority))
    assert queue.oldest == 0
    assert queue.first().arrived == 3
    assert taken(queue) == [3, 6, 0, 4, 5, 2, 7, 1]
    assert queue.size == 0


@pytest.mark.parametrize("priorities", [(0, 0, 0, 0), (2, 1, 3, 0)])
def test_those_that_share_a_run_leave_the_queue_in_its_order(priorities):
    queue, bare = WaitingRequests(10, 10**9), WaitingRequests(10, 10**9)
    for arrived, priority in enumerate(priorities):
        queue.add(Waiting(arrived, priority))
        bare.add(Waiting(arrived, priority))
    order = taken(bare)
    first = queue.pop_while(lambda job: job.arrived != order[2])
    assert [job.arrived for job in first] == order[:2]
    assert (queue.size, queue.oldest) == (2, min(order[2:]))
    assert taken(queue) == order[2:]


def test_a_full_queue_takes_no_more():
    queue = WaitingRequests(2, 10**9)
    assert [queue.add(Waiting(index)) for index in range(3)] == [True, True, False]


def test_who_waited_too_long_or_left_is_dropped_and_the_order_of_others_stays():
    queue = WaitingRequests(10, 100)
    jobs = [Waiting(0), Waiting(50, 1), Waiting(60, deadline=70), Waiting(61), Waiting(62, gone=True), Waiting(63)]
    for job in jobs:
        queue.add(job)
    queue.is_stale = True
    late, gone = queue.drop(101)
    assert [job.arrived for job in late] == [0, 60]
    assert [job.arrived for job in gone] == [62]
    assert queue.oldest == 50
    assert taken(queue) == [50, 61, 63]
    assert queue.drop(10**9) == ([], [])


class FakeModel:
    pass


def test_the_cache_keeps_what_fits_and_drops_what_was_not_asked_for_longest():
    one, other, cache = FakeModel(), FakeModel(), AnswerCache(16_000)
    keys = [cache.key(one, one, None, b"%d" % index + b"x" * 500) for index in range(20)]
    for key in keys:
        cache.put(key, Answer(200, b"y" * 500))
        cache.get(keys[0])
    assert cache.bytes <= 16_000
    assert cache.get(keys[0]) is not None
    assert cache.get(keys[1]) is None
    assert cache.get(keys[-1]) is not None
    assert cache.get(cache.key(other, one, None, keys[0][3])) is None
    assert cache.key(one, one, None, b"x" * 5000) is None
    cache.put(cache.key(one, one, None, b"e"), Answer(503, b""))
    assert cache.get(cache.key(one, one, None, b"e")) is None
    cache.forget(one)
    assert (len(cache), cache.bytes) == (0, 0)


def drawing(op):
    node = onnx.helper.make_node(op, ["x"], ["y"])
    return model([node], [value("x")], [value("y")])


def hidden_in_a_branch():
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("RandomNormalLike", ["x"], ["b"])], "branch", [], [value("b", None)]
    )
    node = onnx.helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    return model([node], [value("x")], [value("y")], [weight("c", np.array(True))])


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (tiny(), True),
        (drawing("RandomUniformLike"), False),
        (drawing("Bernoulli"), False),
        (hidden_in_a_branch(), False),
        (model([onnx.helper.make_node("Own", ["x"], ["y"], domain="x.y")], [value("x")], [value("y")]), False),
        (model([onnx.helper.make_node("Dropout", ["x"], ["y"])], [value("x")], [value("y")]), True),
        (
            model(
                [onnx.helper.make_node("Dropout", ["x", "r", "t"], ["y"])],
                [value("x")],
                [value("y")],
                [weight("r", np.float32(0.5)), weight("t", np.array(True))],
            ),
            False,
        ),
    ],
)
def test_models_that_draw_are_found(made, expected, tmp_path):
    onnx.save(made, tmp_path / "m.onnx")
    assert depends_on_inputs_only(tmp_path / "m.onnx") is expected


@pytest.mark.parametrize("names", [("y",), ("y", "z")])
@pytest.mark.parametrize("ids", [["", ""], ["a", ""]])
def test_rows_that_are_written_at_once_are_those_written_one_by_one(names, ids):
    from quickserveml_tui.core.tensors import TensorSpec

    kinds: list[TensorType] = [tensor_type(TensorSpec(name, "float32", ("n", 3))) for name in names]
    encoder, plan = ResponseEncoder("m", "1", kinds), OutputPlan(names, (False,) * len(names))
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3) * 1.1 - index for index in range(len(names))]
    rows = encoder.encode_rows(plan, ids, arrays)
    single = [encoder.encode(plan, ids[row], [array[row : row + 1] for array in arrays])[0] for row in range(2)]
    assert rows == single
    assert encoder.encode_rows(plan, ids, [array.reshape(2, 3, 1) for array in arrays]) is None


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("queue")
    for name, made in (("tiny", tiny()), ("slow", slow())):
        onnx.save(made, folder / f"{name}.onnx")
    options = {"cache_bytes": 1 << 20, "max_inflight_bytes": 100_000, "default_model": "tiny"}
    with running([folder / "tiny.onnx", folder / "slow.onnx"], folder / "log", **options) as process:
        yield process
    assert "Traceback" not in (folder / "log").read_text()


def test_a_request_keeps_the_name_that_its_client_gave_it_and_gets_one_otherwise(server):
    with server.connect() as connection:
        for path in (INFER, "/v2/models/tiny"):
            method = "POST" if path == INFER else "GET"
            body = infer_body([[1, 2, 3, 4]]) if method == "POST" else b""
            connection.send(request(path, body, method=method, headers=("X-Request-Id: mine-1",)))
            assert connection.reply().headers["x-request-id"] == "mine-1"
            names = set()
            for given in (("X-Request-Id: " + "x" * 129,), ("X-Request-Id: a\tb",), ()):
                connection.send(request(path, body, method=method, headers=given))
                names.add(connection.reply().headers["x-request-id"])
            assert len(names) == 3
            assert all(len(name) < 40 for name in names)


def test_a_request_that_may_not_wait_so_long_is_not_run(server):
    rows = np.zeros((1, 8, 512)).tolist()
    tensor = {"name": "x", "shape": [1, 8, 512], "datatype": "FP32", "data": np.ravel(rows).tolist()}
    patient = json.dumps({"inputs": [tensor]}).encode()
    hasty = json.dumps({"inputs": [tensor], "parameters": {"timeout": 1}}).encode()
    with server.connect() as connection:
        connection.send(request("/v2/models/slow/infer", patient) + request("/v2/models/slow/infer", hasty))
        assert connection.reply().status == 200
        late = connection.reply()
        assert late.status == 504
        assert "waited too long" in late.json()["error"]
        connection.send(
            request("/v2/models/slow/infer", json.dumps({"inputs": [tensor], "parameters": {"priority": -1}}).encode())
        )
        assert connection.reply().status == 400


def test_more_bytes_than_may_be_in_flight_are_refused_and_come_back(server):
    body = infer_body([[1, 2, 3, 4]]) + b" " * 110_000
    with server.connect() as connection:
        connection.send(request(INFER, body))
        reply = connection.reply()
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    for _ in range(3):
        with server.connect() as connection:
            connection.send(request(INFER, body[:90_000]))
            assert connection.reply().status == 200


def test_equal_requests_get_the_kept_answer_and_are_counted(server):
    body = infer_body([[9, 8, 7, 6]])
    with server.connect() as connection:
        answers = set()
        for _ in range(200):
            connection.send(request(INFER, body))
            answers.add(connection.reply().body)
        assert len(answers) == 1
        connection.send(request("/metrics", method="GET"))
        text = connection.reply().body.decode()
    assert 'qsml_inference_requests_total{model="tiny",version="1",code="200"}' in text
