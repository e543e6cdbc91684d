"""A serving profile: the one of the guide is served, options of the command win, and errors say where they are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from live_server import LiveServer
from onnx import helper, save
from server_models import model, tiny, value, weight
from server_process import ENVIRONMENT, infer_body

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.services.home import open_workbench
from quickserveml_tui.services.profile_document import ProfileServer, json_schema, read_profile
from quickserveml_tui.services.serving_plan import Source, VersionPolicy
from quickserveml_tui.services.serving_profile import make_plan

pytestmark = pytest.mark.xdist_group("server")

DOCS = Path(__file__).parents[2] / "docs"
(GUIDE,) = re.findall(r"^```toml\n(.*?)^```", (DOCS / "serving.md").read_text(), re.MULTILINE | re.DOTALL)
(EVERY_KEY,) = re.findall(r"^```toml\n(.*?)^```", (DOCS / "serving-models.md").read_text(), re.MULTILINE | re.DOTALL)


class ShownServer(LiveServer):
    """A server that says for people what it serves."""

    def __init__(self, home, log, *arguments) -> None:
        self.log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "quickserveml_tui", "serve", *map(str, arguments), "--home", str(home)],
                stdout=subprocess.PIPE, stderr=errors, env=ENVIRONMENT,
            )  # fmt: skip
        self.banner = []
        while not self.banner or not self.banner[-1].startswith("Try"):
            line = self.process.stdout.readline().decode()
            assert line, log.read_text()
            self.banner.append(line.rstrip())
        self.port = int(re.search(r"http://127\.0\.0\.1:(\d+)", self.banner[0])[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profile")
    workbench = open_workbench(folder / "home")
    for factor in (1, 2, 3):
        path = folder / f"scaled-{factor}.onnx"
        nodes = [helper.make_node("Mul", ["x", "f"], ["y"])]
        save(model(nodes, [value("x")], [value("y")], [weight("f", np.float32(factor))]), path)
        workbench.catalog.add(AddRequest(str(path), name="scaled", alias="prod" if factor == 1 else ""))
    workbench.close()
    save(tiny(), folder / "tiny.onnx")
    (folder / "serve.toml").write_text(GUIDE)
    arguments = "--profile", folder / "serve.toml", "--port", 0, "--workers", 1
    running = ShownServer(folder / "home", folder / "log", *arguments)
    try:
        yield running
    finally:
        assert running.end() == 0


def test_the_profile_of_the_guide_is_served_and_options_of_the_command_win(server):
    assert server.port != 8000
    assert len(server.workers()) == 1
    assert {key for key, item in server.index().items() if item["state"] == "READY"} == {
        ("tiny", "1"), ("scaled", "1"), ("scaled", "2"),
    }  # fmt: skip
    assert server.ask("/v2/models/tiny/infer", b" " * (1 << 20) + infer_body([[1] * 4]), "POST").status == 413


def test_the_default_is_the_same_version_in_the_banner_and_wherever_no_version_is_named(server):
    assert "  scaled version 1, default" in server.banner
    assert sum("default" in line for line in server.banner) == 1
    assert server.ask("/").json()["default_model"] == {"name": "scaled", "version": "1"}
    reply = server.ask("/v2/models/scaled/infer", infer_body([[1] * 4]), "POST").json()
    assert (reply["model_version"], reply["outputs"][0]["data"]) == ("1", [1] * 4)


def test_the_schema_is_that_of_the_dataclasses():
    committed = json.loads((DOCS / "contract" / "serving-profile.schema.json").read_text())
    assert committed == json_schema(), "run python scripts/make_profile_schema.py"


def test_the_reference_of_the_profile_names_every_key_of_the_server_and_is_read(tmp_path):
    path = tmp_path / "serve.toml"
    path.write_text(EVERY_KEY)
    (tmp_path / "models").mkdir()
    profile = read_profile(path)
    assert all(getattr(profile.server, name) is not None for name in ProfileServer.__dataclass_fields__)
    plan = make_plan(["more@2"], profile=profile, folder=tmp_path, threads=4)
    assert [item.name for item in plan.wanted] == ["resnet", "risky", "more"]
    resnet, risky, more = plan.wanted
    assert (resnet.policy, resnet.settings.intra_op_threads) == (VersionPolicy(latest=2), 2)
    assert (risky.source, risky.path) == (Source.FILE, str(tmp_path / "plugins" / "risky.onnx"))
    assert risky.settings.isolate
    assert {risky.settings.intra_op_threads, more.settings.intra_op_threads} == {4}
    assert (plan.default, plan.repository) == (("resnet", ""), str(tmp_path / "models"))
    assert make_plan([], profile=profile, folder=tmp_path, default="more@2").default == ("more", "2")


TOML = """threads = 1

[[models]]
ref = "a"

[[models]]
ref = "b"  # the second
{model}

[server]
{server}
"""


@pytest.mark.parametrize(
    ("model", "server", "line", "why"),
    [
        ("threads = 0", "", 8, "“models[1].threads”: input should be greater than or equal to 1"),
        ("threads = '2'", "", 8, "“models[1].threads”: input should be a valid integer"),
        ("isolate = 1", "", 8, "“models[1].isolate”: input should be a valid boolean"),
        ("thread = 2", "", 8, "“models” has no “thread”"),
        ("versions = 'newest'", "", 8, "“versions” is all, latest, a table with “latest”"),
        ("versions = { latest = 0 }", "", 8, "“models[1].versions.latest”: input should be greater"),
        ("versions = { newest = 1 }", "", 8, "“versions” is all, latest, a table with “latest”"),
        ("", "port = 70000", 11, "“server.port”: input should be less than or equal to 65535"),
        ("", "prot = 1", 11, "“server” has no “prot”"),
        ("", "allow_remote = true", 11, "“server” has no “allow_remote”"),
        ("", "auth = 'no'", 11, "“server.auth”: input should be"),
        ("", "port = 2021-01-01", 11, "“server.port”: input should be a valid integer"),
    ],
)
def test_an_error_in_a_profile_names_the_file_the_line_and_the_key(tmp_path, model, server, line, why):
    path = tmp_path / "serve.toml"
    path.write_text(TOML.format(model=model, server=server))
    with pytest.raises(UsageError) as found:
        read_profile(path)
    assert found.value.code == "serve.profile"
    assert f"{path}, line {line}, is not valid: {why}" in found.value.message
    if "prot" in server:
        assert found.value.hint == "Did you mean “port”?"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"models": [{"threads": 1}]}', "every model is a reference, or a table with a “ref”"),
        ('{"models": [5]}', "every model is a reference, or a table with a “ref”"),
        ('{"models": "a"}', "every model is a reference, or a table with a “ref”"),
        ('{"modells": []}', "it has no “modells”"),
        ('{"server": []}', "“server”: input should be an object"),
    ],
)
def test_a_profile_of_another_shape_is_refused(tmp_path, text, why):
    path = tmp_path / "serve.json"
    path.write_text(text)
    with pytest.raises(UsageError) as found:
        read_profile(path)
    assert (found.value.code, why in found.value.message) == ("serve.profile", True), found.value.message


def test_a_profile_that_cannot_be_parsed_is_refused_by_its_line(tmp_path):
    path = tmp_path / "serve.toml"
    path.write_text("threads = 1\nmodels = = 2\n")
    with pytest.raises(UsageError, match="line 2"):
        read_profile(path)
