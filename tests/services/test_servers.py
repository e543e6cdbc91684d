"""Servers in the background: real processes that outlive whoever started them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import quickserveml_tui
from quickserveml_tui.client.monitor import MonitorClient
from quickserveml_tui.core.errors import (
    CancelledError,
    DataError,
    NotFoundError,
    ReadOnlyError,
    UnavailableError,
    UsageError,
)
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.serving import ServerPlan, ServerRecord
from quickserveml_tui.runtime.host import boot_name, process_born
from quickserveml_tui.services.server_records import ServerRecords, process_of
from quickserveml_tui.services.servers import ServersService

pytestmark = pytest.mark.xdist_group("servers")
PORT = ("port", "0")
ROOT = Path(quickserveml_tui.__file__).parent.parent


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("servers") / "linear.onnx"
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.ones((4, 3), np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("servers-home") / "home"


@pytest.fixture(scope="module")
def running(home, model):
    """A server, started by a process that has ended since."""
    code = (
        "import sys, msgspec\nfrom pathlib import Path\n"
        "from quickserveml_tui.services.servers import ServersService\n"
        "from quickserveml_tui.core.serving import ServerPlan\n"
        "plan = ServerPlan((sys.argv[2],), options=(('port', '0'),))\n"
        "print(msgspec.json.encode(ServersService(Path(sys.argv[1])).start(plan)).decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(home), str(model)],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = msgspec.json.decode(done.stdout, type=ServerRecord)
    yield record
    process_of(record).signal(signal.SIGKILL)


def ended(record):
    deadline = time.monotonic() + 30
    while process_of(record).is_alive:
        assert time.monotonic() < deadline
        os.sched_yield()
    return True


def test_a_server_outlives_whoever_started_it_and_is_found_again(running, home):
    servers = ServersService(home)
    (found,) = servers.list()
    assert (found.id, found.url, found.pid) == (running.id, running.url, running.pid)
    assert MonitorClient().snapshot(found.url).models[0].name == "linear"
    assert os.getsid(found.pid) == found.pid
    assert (home / "servers").stat().st_mode & 0o777 == 0o700
    assert (home / "servers" / f"{found.id}.json").stat().st_mode & 0o777 == 0o600
    assert isinstance(servers.log(found.id)[1], int)
    assert not list((home / "servers").glob("*.out"))


def test_what_a_server_says_when_it_does_not_start_is_raised_as_its_own_error(running, home, model):
    servers = ServersService(home)
    taken = running.url.rpartition(":")[2]
    with pytest.raises(UnavailableError) as caught:
        servers.start(ServerPlan((str(model),), options=(("port", taken),)))
    assert (caught.value.code, bool(caught.value.hint)) == ("serve.port_taken", True)
    with pytest.raises(DataError) as missing:
        servers.start(ServerPlan((str(model) + ".gone.onnx",), options=(PORT,)))
    assert missing.value.code == "model.missing"
    with pytest.raises(UsageError):
        servers.start(ServerPlan((str(model),), options=(("no-such-option", "1"),)))
    assert [record.id for record in servers.list()] == [running.id]
    assert {path.stem for path in (home / "servers").iterdir()} == {running.id}


def test_a_server_that_takes_too_long_or_is_not_wanted_any_more_is_ended(home, model):
    servers = ServersService(home)
    plan = ServerPlan((str(model),), options=(PORT,))
    before = set((home / "servers").iterdir()) if (home / "servers").is_dir() else set()
    with pytest.raises(UnavailableError) as caught:
        servers.start(plan, timeout_s=0.0)
    assert caught.value.code == "server.start_timeout"
    token = CancelToken()
    token.cancel()
    with pytest.raises(CancelledError):
        servers.start(plan, cancel=token)
    assert (set((home / "servers").iterdir()) if (home / "servers").is_dir() else set()) == before


def test_stopping_waits_for_the_end_and_leaves_the_log(home, model):
    servers = ServersService(home)
    record = servers.start(ServerPlan((str(model),), options=(PORT,)))
    servers.stop(record.id)
    assert process_born(record.pid) != record.born
    assert record.id not in {found.id for found in servers.list()}
    assert servers.log(record.id)[1] >= 0
    for again in (record.id, "server-000000000000", "../../etc/passwd", ""):
        with pytest.raises(NotFoundError) as caught:
            servers.stop(again)
        assert caught.value.code == "server.not_found"


def test_a_server_that_was_killed_is_dropped(home, model):
    servers = ServersService(home)
    record = servers.start(ServerPlan((str(model),), options=(PORT,)))
    process_of(record).signal(signal.SIGKILL)
    assert ended(record)
    assert record.id not in {found.id for found in servers.list()}
    assert not (home / "servers" / f"{record.id}.json").exists()


def own(**changes) -> ServerRecord:
    """A record that speaks of this process."""
    pid = os.getpid()
    record = ServerRecord(
        "server-0123456789ab", pid, "http://127.0.0.1:1", "2026", boot=boot_name(), born=process_born(pid)
    )
    return replace(record, **changes)


def test_no_other_process_is_ever_signalled(tmp_path):
    records, servers = ServerRecords(tmp_path), ServersService(tmp_path)
    for stranger in (own(born=own().born - 1), own(boot="another")):
        records.write(stranger)
        with pytest.raises(NotFoundError):
            servers.stop(stranger.id)
    records.write(own())
    assert [record.url for record in servers.list()] == [own().url]


def test_a_server_writes_itself_down_and_is_known_by_its_process(tmp_path):
    records = ServerRecords(tmp_path)
    record = records.write_own("http://127.0.0.1:1", ["m@1"], workers=2, auth="keys", command="quickserveml serve m")
    assert ServersService(tmp_path).list() == (record,)
    assert records.of_process(process_of(record)) == record
    records.remove(record.id)
    assert records.running() == ()


def test_records_that_are_none_are_dropped_and_others_shown_as_text(tmp_path):
    records, servers = ServerRecords(tmp_path), ServersService(tmp_path)
    records.write(own(models=("a\x1b[31m@1",)))
    folder = tmp_path / "servers"
    for name, text in (("a", "{"), ("b", "[]"), ("c", msgspec.json.encode(own()).decode())):
        (folder / f"server-{name * 12}.json").write_text(text)
    os.mkfifo(folder / "server-dddddddddddd.json")
    (folder / "notes.json").write_text("mine")
    (found,) = servers.list()
    assert found.models == ("a[31m@1",)
    assert {path.name for path in folder.iterdir()} == {"server-0123456789ab.json", "notes.json"}


def test_a_log_is_read_on_from_where_one_was(tmp_path):
    records, servers = ServerRecords(tmp_path), ServersService(tmp_path)
    records.write(own())
    with pytest.raises(NotFoundError) as caught:
        servers.log(own().id)
    assert caught.value.code == "server.no_log"
    path = records.log_path(own().id)
    path.write_text("one\n\x1b[31mtwo\n")
    text, offset = servers.log(own().id)
    assert text == "one\n[31mtwo\n"
    with path.open("a") as file:
        file.write("three\n")
    assert servers.log(own().id, offset)[0] == "three\n"
    assert servers.list()[0].log_path == str(path)


def test_the_command_does_the_same_and_takes_no_options_by_stealth(home, model):
    servers = ServersService(home, ("--home", "/a b"))
    command = servers.command(ServerPlan(("m@1",), every=True, options=(("port", "1"), ("quiet", ""), ("x", "-1"))))
    assert shlex.split(command) == [
        "quickserveml", "serve", "m@1", "--all", "--port", "1", "--quiet", "--x=-1", "--home", "/a b",
    ]  # fmt: skip
    for plan in (
        ServerPlan(),
        ServerPlan(("--host",)),
        ServerPlan(("",)),
        ServerPlan(("a\0",)),
        ServerPlan(("m",), options=(("json", ""),)),
        ServerPlan(("m",), options=(("home", "/"),)),
        ServerPlan(("m",), options=(("a=b", "c"),)),
    ):
        with pytest.raises(UsageError):
            servers.command(plan)


def test_a_home_that_is_read_only_starts_and_stops_nothing(running, home, model):
    servers = ServersService(home, read_only=True)
    with pytest.raises(ReadOnlyError):
        servers.start(ServerPlan((str(model),)))
    with pytest.raises(ReadOnlyError):
        servers.stop(running.id)
    assert [record.id for record in servers.list()] == [running.id]
    assert json.loads((home / "servers" / f"{running.id}.json").read_text())["id"] == running.id
