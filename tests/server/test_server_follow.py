"""What changes in the catalog is taken up while requests go on; what must not take traffic does not."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from live_server import live, loading
from onnx import helper, save
from server_models import model, tiny, value, weight
from server_process import eventually

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.services.home import open_workbench
from quickserveml_tui.services.server_records import ServerRecords

pytestmark = pytest.mark.xdist_group("server")


def scaled(factor: float):
    nodes = [helper.make_node("Mul", ["x", "f"], ["y"])]
    return model(nodes, [value("x")], [value("y")], [weight("f", np.float32(factor))])


@pytest.fixture
def home(tmp_path):
    workbench = open_workbench(tmp_path / "home")
    for number in (1, 2):
        path = tmp_path / f"v{number}.onnx"
        save(scaled(number), path)
        workbench.catalog.add(AddRequest(str(path), name="m", alias="prod" if number == 1 else ""))
    yield workbench
    workbench.close()


def test_a_moved_alias_is_swapped_under_load_without_one_failed_request(home, tmp_path):
    with live(home.home, tmp_path / "log", "m@prod", "--workers", 2) as server:
        with loading(server, "/v2/models/m/infer") as clients:
            for client in clients:
                client.progress()
            home.catalog.set_alias("m@2", "prod")
            eventually(lambda: ("m", "2") in server.index() and ("m", "1") not in server.index(), "the swap")
            for client in clients:
                client.progress()
        assert [client.wrong for client in clients] == [[]] * len(clients)
        assert set().union(*(client.versions for client in clients)) == {"1", "2"}
        assert server.end() == 0


def test_a_new_version_is_taken_up_a_deleted_one_goes_and_one_that_differs_stays_out(home, tmp_path):
    with live(home.home, tmp_path / "log", "m") as server:
        assert ("m", "2") in server.index()
        third = tmp_path / "v3.onnx"
        save(scaled(3), third)
        home.catalog.add(AddRequest(str(third), name="m"))
        eventually(lambda: server.index().get(("m", "3"), {}).get("state") == "READY", "the new version")
        assert (
            server.ask(
                "/v2/models/m/infer",
                b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,1,1,1]}]}',
                "POST",
            ).json()["outputs"][0]["data"]
            == [3] * 4
        )
        home.catalog.delete("m@3")
        eventually(lambda: server.index().get(("m", "2"), {}).get("state") == "READY", "the version before")
        assert ("m", "3") not in server.index()


def test_models_are_loaded_and_unloaded_on_request_and_a_failed_load_changes_nothing(home, tmp_path):
    with live(home.home, tmp_path / "log", "m@1", "--no-follow", "--workers", 2) as server:
        reply = server.ask("/v2/repository/models/m/load", b'{"parameters":{"version":"2"}}', "POST")
        assert reply.status == 200, reply.body
        assert {key for key, item in server.index().items() if item["state"] == "READY"} == {("m", "1"), ("m", "2")}
        revision = server.ask("/api/v1/server").json()["revision"]
        assert server.ask("/v2/repository/models/nothing/load", b"", "POST").status == 404
        assert server.ask("/api/v1/server").json()["revision"] == revision
        reply = server.ask("/v2/repository/models/m/versions/1/unload", b"", "POST")
        assert reply.status in (200, 404), reply.body
        if reply.status == 404:
            reply = server.ask("/v2/repository/models/m/unload", b'{"parameters":{"version":"1"}}', "POST")
            assert reply.status == 200, reply.body
        assert server.index()["m", "1"] == {"name": "m", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}
        assert server.index()["m", "2"]["state"] == "READY"


def test_a_repository_folder_is_served_by_its_configuration_and_its_links_are_refused(home, tmp_path):
    folder = tmp_path / "repository"
    for name, versions in (("both", (1, 2)), ("newest", (1, 7))):
        for number in versions:
            (folder / name / str(number)).mkdir(parents=True)
            save(tiny(), folder / name / str(number) / "model.onnx")
    (folder / "both" / "config.pbtxt").write_text('name: "both"\nmax_batch_size: 4\nversion_policy: { all { } }\n')
    (folder / "away" / "1").mkdir(parents=True)
    (folder / "away" / "1" / "model.onnx").symlink_to(tmp_path / "v1.onnx")
    (folder / "both" / "3").mkdir()
    (folder / "elsewhere").symlink_to(folder / "newest")
    (folder / "no name!").mkdir()
    with live(home.home, tmp_path / "log", "--repository", folder) as server:
        assert server.said["models"] == ["both@1", "both@2", "newest@7"]
        left_out = {(item["name"], item["version"]): item["reason"] for item in server.said["left_out"]}
        assert list(left_out) == [("away", "1"), ("away", ""), ("both", "3"), ("elsewhere", ""), ("no name!", "")]
        assert "links are not followed" in left_out["away", "1"]
        assert left_out["both", "3"] == "It has no model.onnx."
        assert "links are not followed" in left_out["elsewhere", ""]
        lines = [json.loads(line)["message"] for line in server.log.read_text().splitlines()]
        assert [line for line in lines if line.startswith("Not served: both version 3")] == [
            "Not served: both version 3: It has no model.onnx."
        ]
        index = server.index()
        assert {key for key, item in index.items() if item["state"] == "READY"} == {
            ("both", "1"), ("both", "2"), ("newest", "7"),
        }  # fmt: skip
        assert {key for key, item in index.items() if item["state"] == "UNAVAILABLE"} == set(left_out)
        assert server.ask("/v2/models/both/config").json()["max_batch_size"] == 4
        shutil.copytree(folder / "newest", folder / "later")
        eventually(lambda: ("later", "7") in server.index(), "the new folder")
        # Whoever lists servers sees what is served now.
        eventually(lambda: "later@7" in ServerRecords(home.home).running()[0].models, "the record")
        (folder / "both" / "config.pbtxt").write_text("broken {{")
        eventually(lambda: ("both", "") in server.index(), "the reason")
        found = server.index()
        assert found["both", ""]["state"] == "UNAVAILABLE"
        assert "config.pbtxt" in found["both", ""]["reason"]
        assert {found["both", number]["state"] for number in "12"} == {"READY"}
