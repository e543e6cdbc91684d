"""Opening a home is cheap, writes nothing, and wires every part once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from catalog_builders import save_linear

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import QuickServeError, UsageError
from quickserveml_tui.services.home import default_home, open_workbench

PARTS = ["catalog", "inspect", "predict", "benchmark", "batch", "jobs", "demo", "host"]


@pytest.fixture
def workbench(tmp_path):
    workbench = open_workbench(tmp_path / "deep" / "home")
    yield workbench
    workbench.close()


@pytest.mark.parametrize("name", PARTS)
def test_every_part_is_there_and_built_once(workbench, name):
    assert getattr(workbench, name) is getattr(workbench, name)


def test_threads_that_ask_at_once_share_one_part(workbench):
    seen, start = [], threading.Barrier(8)

    def ask():
        start.wait(30)
        seen.append(workbench.catalog)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({id(item) for item in seen}) == 1


def test_looking_creates_no_home(workbench, tmp_path):
    workbench.catalog.list_models()
    workbench.catalog.generation()
    assert workbench.benchmark.history() == ()
    assert workbench.batch.history() == ()
    assert workbench.jobs.list() == ()
    assert workbench.host.status().cores >= 1
    assert list(tmp_path.iterdir()) == []


def test_the_first_write_creates_a_private_home_and_nothing_outside(workbench, tmp_path):
    model = save_linear(tmp_path / "models" / "m.onnx")
    before = model.stat()
    result = workbench.catalog.add(AddRequest(str(model)))
    assert result.version.runnable
    assert stat.S_IMODE(workbench.home.stat().st_mode) == 0o700
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "models"]
    assert [path.name for path in model.parent.iterdir()] == ["m.onnx"]
    assert model.stat().st_mtime_ns == before.st_mtime_ns


def test_two_workbenches_on_one_home_see_each_other(workbench, tmp_path):
    other = open_workbench(workbench.home)
    workbench.catalog.add(AddRequest(str(save_linear(tmp_path / "m.onnx"))))
    assert [view.model.name for view in other.catalog.list_models().models] == ["m"]
    other.catalog.tag("m", add=["seen"])
    assert workbench.catalog.show("m").model.tags == ("seen",)
    other.close()


def test_closing_twice_is_safe_and_ends_the_runners(workbench):
    with workbench.runners.borrow() as runner:
        assert runner.alive
    workbench.close()
    workbench.close()
    assert not runner.alive
    with pytest.raises(QuickServeError):
        workbench.runners.borrow().__enter__()


def test_closing_an_unused_workbench_starts_nothing(tmp_path):
    workbench = open_workbench(tmp_path / "home")
    workbench.close()
    with pytest.raises(QuickServeError):
        workbench.runners.borrow().__enter__()


def test_warming_up_starts_a_spare_runner(workbench):
    workbench.warm_up()
    for thread in threading.enumerate():
        if thread.name == "runner-warm-up":
            thread.join(30)
    with workbench.runners.borrow() as runner:
        assert runner.alive


def test_the_home_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("QSML_HOME", str(tmp_path / "mine"))
    assert open_workbench().home == tmp_path / "mine"
    assert open_workbench(tmp_path / "other").home == tmp_path / "other"
    monkeypatch.setenv("QSML_HOME", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_home() == tmp_path / "data" / "quickserveml"
    monkeypatch.setenv("QSML_HOME", "~/qsml")
    assert open_workbench().home == Path.home() / "qsml"


def test_a_home_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for home in (tmp_path / "file", Path("a\0b"), Path("~no-such-user/x"), Path("x" * 5000)):
        with pytest.raises(UsageError) as caught:
            open_workbench(home)
        assert caught.value.code == "home.invalid"


def modules_after(code):
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "QSML_HOME": "/tmp/never-created"},
    )
    return set(done.stdout.split())


HEAVY = {"numpy", "tinydb", "orjson", "msgspec", "sqlite3", "filelock", "onnx", "onnxruntime", "pydantic", "textual"}


def test_opening_imports_nothing_heavy():
    loaded = modules_after("from quickserveml_tui.services.home import open_workbench\nopen_workbench().close()")
    assert not loaded & HEAVY
    assert not Path("/tmp/never-created").exists()


def test_listing_needs_neither_numpy_nor_the_runtime():
    code = "from quickserveml_tui.services.home import open_workbench\nopen_workbench().catalog.list_models()"
    assert not modules_after(code) & {"numpy", "onnx", "onnxruntime", "pydantic", "textual", "psutil"}


def test_a_runner_makes_a_new_home_private_even_when_it_is_the_first_to_write(tmp_path, workbench):
    before = os.umask(0o022)
    try:
        workbench.inspect.facts(str(save_linear(tmp_path / "linear.onnx")))
    finally:
        os.umask(before)
    for folder in (workbench.home, workbench.home.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_runners_of_a_home_that_may_not_be_written_leave_nothing_in_it(tmp_path):
    model = str(save_linear(tmp_path / "linear.onnx"))
    told_so = open_workbench(tmp_path / "home", read_only=True)
    found_out = open_workbench(tmp_path / "file" / "home")
    (tmp_path / "file").touch()  # what stands here for a read-only volume holds also for root
    try:
        assert told_so.inspect.facts(model) == found_out.inspect.facts(model)
    finally:
        told_so.close()
        found_out.close()
    assert not (tmp_path / "home").exists()
