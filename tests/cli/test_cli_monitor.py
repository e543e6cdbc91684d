"""`monitor`, `servers` and `predict` on a server, against real ones."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_harness import Cli, check, environment, save_model

sys.path.extend(str(Path(__file__).parents[1] / name) for name in ("server", "client"))

from hostile import Hostile, answer, pages
from server_process import DEADLINE_S, running

from quickserveml_tui.core.serving import ServerPlan
from quickserveml_tui.services.servers import ServersService

pytestmark = pytest.mark.xdist_group("servers")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli-server")
    with running(
        [save_model(folder / "linear.onnx"), save_model(folder / "twice.onnx", scale=2)], folder / "log"
    ) as it:
        yield it.url


def test_predict_runs_a_model_on_a_server_as_it_runs_one_here(cli: Cli, url: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.eye(4, dtype=np.float32))
    model = save_model(tmp_path / "linear.onnx")
    here = cli.json("predict", "predict", str(model), "--inputs", str(tmp_path / "in.npz"))
    for address in (f"{url}/v2/models/linear", f"{url}/v2/models/linear/versions/1/"):
        there = cli.json(
            "predict", "predict", address, "--inputs", str(tmp_path / "in.npz"), "--output", str(tmp_path / "o.npz")
        )
        assert there["outputs"] == here["outputs"]
        assert (there["url"], there["synthetic"]) == (address, False)
        assert there["latency_ms"] > 0
    with np.load(tmp_path / "o.npz") as written:
        assert written["y"].shape == (4, 3)


def test_predict_makes_inputs_up_from_the_metadata_of_the_server(cli: Cli, url: str) -> None:
    document = cli.json("predict", "predict", f"{url}/v2/models/linear", "--batch", "3", "--range", "x=1:1")
    assert document["outputs"]["y"]["data"] == [[18.0, 22.0, 26.0]] * 3
    assert document["synthetic"] is True
    result = cli("predict", f"{url}/v2/models/linear")
    assert "made up" in result.err
    assert "latency" in result.out


@pytest.mark.parametrize(
    ("path", "options", "code", "error"),
    [
        ("", (), 2, "usage.which_model"),
        ("/v2/models/nope", (), 3, "server.not_there"),
        ("/v2/models/linear/what", (), 2, "usage.url"),
        ("/v2/models/linear", ("--shape", "x=1x5"), 2, "usage.override"),
        ("/v2/models/linear", ("--key", "a b"), 2, "usage.key"),
    ],
)
def test_a_model_that_cannot_be_asked_is_one_error(cli: Cli, url, path, options, code, error) -> None:
    result = cli("predict", url + path, *options, "--json")
    assert (result.code, result.error["code"]) == (code, error)
    assert result.error["hint"]


def test_the_key_comes_from_the_environment_and_only_goes_to_servers(cli: Cli, monkeypatch, model: Path) -> None:
    monkeypatch.setenv("QSML_API_KEY", "qsml_a_b_c")
    with Hostile(pages({})) as server:
        assert cli("predict", f"{server.url}/v2/models/m", "--json").error["code"] == "server.not_there"
        assert b"Bearer qsml_a_b_c" in server.requests[0]
    assert "qsml_a_b_c" not in cli("config", "show").out
    assert cli("predict", str(model)).code == 0
    assert cli("predict", str(model), "--key", "x", "--json").error["code"] == "usage"
    with Hostile(lambda connection, _head: connection.sendall(answer(b"{}", status="401 No"))) as server:
        refused = cli("monitor", server.url, "--json")
        assert (refused.code, refused.error["code"]) == (5, "server.refused")


def test_monitor_prints_one_document_or_line_per_interval(cli: Cli, url: str) -> None:
    result = cli("monitor", url, "--interval", "100ms", "--count", "3", "--json")
    assert result.code == 0
    lines = result.out.splitlines()
    assert len(lines) == 3
    for line in lines:
        document = json.loads(line)
        check(document, "monitor")
        assert {model["name"] for model in document["rates"]["models"]} == {"linear", "twice"}
        assert document["source"] == "quickserveml"
    text = cli("monitor", url, "--interval", "100ms", "--count", "2")
    assert [line.count("req/s") for line in text.out.splitlines()] == [0, 1, 1]
    assert url in text.out.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        ((), 3, "server.none"),
        (("localhost:8000",), 2, "usage.url"),
        (("http://127.0.0.1:9",), 4, "server.unreachable"),
        (("http://127.0.0.1:9", "--interval", "1ms"), 2, "usage.interval"),
        (("http://127.0.0.1:9", "--interval", "x"), 2, "usage.duration"),
        (("http://127.0.0.1:9", "--count", "0"), 2, "usage.count"),
    ],
)
def test_what_cannot_be_watched_is_one_error(cli: Cli, arguments, code, error) -> None:
    result = cli("monitor", *arguments, "--json")
    assert (result.code, result.error["code"]) == (code, error)
    assert result.error["hint"]


def one_error(cli: Cli, *arguments: str) -> str:
    """The code of the only error, told alike to people and to programs."""
    document, text = cli("monitor", *arguments, "--count", "1", "--json"), cli("monitor", *arguments, "--count", "1")
    assert document.code == text.code != 0
    assert document.error["hint"]
    assert text.out == ""
    assert text.err.splitlines() == [f"✕ {document.error['message']}", f"  {document.error['hint']}"]
    return document.error["code"]


def test_a_server_that_wants_a_key_says_so_and_is_watched_with_one(cli: Cli, model: Path, tmp_path: Path) -> None:
    keys = {scope: cli("keys", "create", scope, "--scope", scope, "-q").out.strip() for scope in ("metrics", "infer")}
    with running([model], tmp_path / "log", auth="keys", home=str(cli.home)) as server:
        assert one_error(cli, server.url) == "server.refused"
        assert one_error(cli, server.url, "--key", keys["metrics"][:-1] + "?") == "server.refused"
        assert one_error(cli, server.url, "--key", keys["infer"]) == "server.refused"
        result = cli("monitor", server.url, "--key", keys["metrics"], "--interval", "100ms", "--count", "1", "--json")
        check(result.document, "monitor")


def test_a_server_of_something_else_is_one_error(cli: Cli) -> None:
    page = answer(b"<html>", kind="text/html")
    for found in ({}, {"/metrics": page, "/api/v1/monitor": page, "/v2/models/stats": page}):
        with Hostile(pages(found)) as other:
            assert one_error(cli, other.url) == "server.answer"
    with Hostile(lambda _socket, _head: False) as silent:  # it closes every connection at once
        assert one_error(cli, silent.url) in ("server.answer", "server.unreachable")


def test_a_server_that_goes_away_ends_the_stream_with_one_error(cli: Cli, model: Path, tmp_path: Path) -> None:
    with running([model], tmp_path / "log") as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "quickserveml_tui", "--home", str(cli.home), "monitor", server.url, "--interval",
             "100ms", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
        )  # fmt: skip
        try:
            check(json.loads(process.stdout.readline()), "monitor")
            server.terminate(signal.SIGKILL)
            out, errors = process.communicate(timeout=DEADLINE_S)
            *documents, last = [json.loads(line) for line in out.splitlines()]
            for document in documents:
                check(document, "monitor")
            assert (process.returncode, errors) == (4, b"")
            assert last["error"]["code"] in ("server.unreachable", "server.answer")
        finally:
            process.kill()
            process.communicate()


def test_ctrl_c_ends_watching_without_a_failure(cli: Cli, url: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "quickserveml_tui", "--home", str(cli.home), "monitor", url, "--interval", "100ms", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    try:
        check(json.loads(process.stdout.readline()), "monitor")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, errors) == (0, b"")
    finally:
        process.kill()
        process.communicate()


def test_on_a_terminal_of_80_columns_the_table_fits_and_no_name_escapes(cli: Cli) -> None:
    import fcntl
    import struct
    import termios

    metrics = "".join(
        f'nv_inference_request_success{{model="{name}",version="1"}} 1234567\n'
        for name in ("resnet\x1b[31m[/bold]" + "x" * 60, "b")
    )
    with Hostile(pages({"/metrics": answer(metrics.encode(), kind="text/plain")})) as server:
        main, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "quickserveml_tui", "--home", str(cli.home), "monitor", server.url, "--interval",
             "100ms", "--count", "2"],
            stdin=child, stdout=child, stderr=subprocess.PIPE,
            env=environment({"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "80"}),
        )  # fmt: skip
        os.close(child)
        shown = b""
        try:
            while data := os.read(main, 65536):
                shown += data
        except OSError:  # the terminal is closed: the command has ended
            pass
        finally:
            os.close(main)
        _, errors = process.communicate(timeout=DEADLINE_S)
    text = shown.decode()
    assert process.returncode == 0, errors
    assert "mean ms" in text
    assert "\x1b[31m" not in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert max(map(len, plain.replace("\r", "\n").splitlines())) <= 80
    assert re.search(r"resnet\[31m\S*…x+@1 +0 ", plain)


def test_servers_of_the_home_are_listed_watched_and_stopped(cli: Cli, model: Path) -> None:
    assert cli.json("servers list", "servers", "list") == {"servers": []}
    assert "No server" in cli("servers", "list").out
    servers = ServersService(cli.home)
    record = servers.start(ServerPlan((str(model),), options=(("port", "0"),)))
    try:
        (listed,) = cli.json("servers list", "servers", "list")["servers"]
        assert (listed["id"], listed["url"]) == (record.id, record.url)
        assert record.id in cli("servers", "list").out
        assert json.loads(cli("monitor", "--count", "1", "--interval", "100ms", "--json").out)["url"] == record.url
        assert cli.json("servers log", "servers", "log")["id"] == record.id
        assert cli("servers", "log", "--follow", "--json").code == 2
        assert cli.json("servers stop", "servers", "stop") == {"id": record.id, "stopped": True}
    finally:
        for left in servers.list():
            servers.stop(left.id)
    gone = cli("servers", "stop", record.id, "--json")
    assert (gone.code, gone.error["code"]) == (3, "server.not_found")
    assert cli("servers", "stop", "--json").error["code"] == "server.none"


def test_a_server_in_a_terminal_is_found_while_it_runs(cli: Cli, model: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "quickserveml_tui", "--home", str(cli.home), "serve", str(model), "--port", "0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    try:
        said = json.loads(process.stdout.readline())
        (listed,) = cli.json("servers list", "servers", "list")["servers"]
        assert (listed["url"], listed["pid"], listed["models"]) == (said["url"], process.pid, ["linear@1"])
        assert listed["command"].startswith("quickserveml --home")
        assert cli("servers", "log", "--json").error["code"] == "server.no_log"
        assert cli.json("servers stop", "servers", "stop", listed["id"])["stopped"] is True
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, errors
        assert list((cli.home / "servers").iterdir()) == []
    finally:
        process.kill()
        process.communicate()
