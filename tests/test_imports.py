"""What a fresh interpreter has loaded: start-up time is a promise, and lazy imports are invisible to import-linter."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import quickserveml_tui.core

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {
    "numpy",
    "pydantic",
    "onnx",
    "onnxruntime",
    "textual",
    "fastapi",
    "uvicorn",
    "tinydb",
    "rich",
    "plotext",
    "psutil",
}


def loaded_after(code: str, tmp_path: Path) -> set[str]:
    """Names of all modules in an interpreter of its own after `code`, however it ends."""
    script = (
        "import sys\n"
        "try:\n    exec(sys.argv.pop(1))\n"
        "except SystemExit:\n    pass\n"
        "sys.stdout.flush(); sys.stderr.write('\\nmodules: ' + ' '.join(sys.modules))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QSML_")}
    done = subprocess.run(
        [sys.executable, "-c", script, code],
        env={**environment, "PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=True,
    )  # fmt: skip
    return set(done.stderr.rpartition("modules: ")[2].split())


def command(*arguments: str) -> str:
    """Code that runs a command line."""
    return f"sys.argv = ['quickserveml', *{arguments!r}]; from quickserveml_tui.cli.entry import main; main()"


def packages(modules: set[str]) -> set[str]:
    """Top-level packages among modules."""
    return {name.partition(".")[0] for name in modules}


def test_version_loads_nothing_of_ours_but_the_version(tmp_path: Path) -> None:
    modules = loaded_after(command("--version"), tmp_path)
    ours = {name for name in modules if name.startswith("quickserveml_tui")}
    assert ours == {
        "quickserveml_tui", "quickserveml_tui._version", "quickserveml_tui.cli", "quickserveml_tui.cli.entry",
    }  # fmt: skip
    bare = loaded_after("import re, sys", tmp_path)
    assert packages(modules) - packages(bare) == {"quickserveml_tui"}


def test_help_loads_the_table_of_commands_and_no_command(tmp_path: Path) -> None:
    modules = loaded_after(command("--help"), tmp_path)
    assert packages(modules) & (HEAVY | {"msgspec", "wcwidth", "orjson", "platformdirs"}) == set()
    ours = {name for name in modules if name.startswith("quickserveml_tui.cli.")}
    assert ours <= {f"quickserveml_tui.cli.{name}" for name in ("entry", "diagnostics", "app", "commands", "options")}


@pytest.mark.parametrize("name", ["add", "benchmark", "serve", "open", "demo", "inspect"])
def test_help_of_a_command_loads_nothing_heavy(tmp_path: Path, name: str) -> None:
    # Typer itself reads the values of options with pydantic.
    assert packages(loaded_after(command(name, "--help"), tmp_path)) & (HEAVY - {"pydantic"}) == set()


@pytest.mark.parametrize("arguments", [(), ("open",)], ids=["bare", "open"])
def test_the_workbench_is_opened_without_typer_and_validation(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    modules = packages(loaded_after(command(*arguments), tmp_path))  # without a terminal it ends before the interface
    assert modules & (HEAVY | {"typer", "platformdirs"}) == set()


def test_list_needs_neither_runtime_nor_interface(tmp_path: Path) -> None:
    modules = packages(loaded_after(command("list"), tmp_path))
    assert modules & {"numpy", "onnx", "onnxruntime", "textual", "fastapi", "plotext"} == set()


def test_core_loads_no_library_of_another_layer(tmp_path: Path) -> None:
    root = "quickserveml_tui.core."
    names = [item.name.removeprefix(root) for item in pkgutil.walk_packages(quickserveml_tui.core.__path__, root)]
    imports = "; ".join(f"import {root}{name}" for name in names)
    modules = loaded_after(imports, tmp_path)
    assert packages(modules) & (HEAVY | {"typer", "msgspec"}) == set()
    assert {name for name in modules if name.startswith("quickserveml_tui.")} == {
        "quickserveml_tui._version", "quickserveml_tui.core", *(f"quickserveml_tui.core.{name}" for name in names),
    }  # fmt: skip


def test_the_workbench_loads_no_runtime_store_or_model_library(tmp_path: Path) -> None:
    modules = loaded_after("import quickserveml_tui.tui.run; import quickserveml_tui.tui.app", tmp_path)
    assert packages(modules) & {"onnx", "onnxruntime", "fastapi", "uvicorn", "tinydb", "plotext", "pydantic"} == set()
    layers = ("runtime", "storage", "graph", "services", "server")
    assert not [name for name in modules if name.startswith(tuple(f"quickserveml_tui.{layer}" for layer in layers))]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 45)], ids=str)
def test_the_first_frame_loads_only_what_it_shows(tmp_path: Path, size: tuple[int, int]) -> None:
    code = (
        "from quickserveml_tui.tui.app import WorkbenchApp; from quickserveml_tui.tui.options import WorkbenchOptions\n"
        "app = WorkbenchApp(None, WorkbenchOptions(fresh=True))\n"
        "async def end_there():\n    print(len(app.bench.panes), 'panes'); app.exit()\n"
        f"app.bench.furnish = end_there; app.run(headless=True, size={size})"
    )
    modules = loaded_after(code, tmp_path)
    libraries = HEAVY - {"textual", "rich"} | {"msgspec", "wcwidth", "orjson"}
    assert packages(modules) & libraries == set()
    later = {"core.benchmarks", "core.catalog", "core.models", "core.facts", "core.predictions", "core.statistics"}
    later |= {"tui.sheets.model", "tui.sheets.runs", "tui.panes.layers", "tui.screens.forms", "tui.screens.dialog"}
    assert modules & {f"quickserveml_tui.{name}" for name in later} == set()
    assert "quickserveml_tui.tui.panes.jobs" in modules


def test_importing_the_interface_package_does_not_load_textual(tmp_path: Path) -> None:
    modules = loaded_after("import quickserveml_tui.tui; import quickserveml_tui.tui.options", tmp_path)
    assert "textual" not in packages(modules)


def test_the_server_loads_no_interface(tmp_path: Path) -> None:
    modules = loaded_after("import quickserveml_tui.server.run", tmp_path)
    assert packages(modules) & {"textual", "rich", "typer", "onnx", "plotext"} == set()


def test_the_services_open_without_a_runtime(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from quickserveml_tui.services.home import open_workbench; "
        f"w = open_workbench(Path({str(tmp_path / 'home')!r})); w.catalog.list_models(); w.close()"
    )
    modules = packages(loaded_after(code, tmp_path))
    assert modules & {"onnx", "onnxruntime", "textual", "fastapi", "rich"} == set()
