"""A home with one model, and command lines on it."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_harness import Cli, save_model

from quickserveml_tui.cli import app


@pytest.fixture(scope="session", autouse=True)
def _commands_built_once() -> Iterator[None]:
    """Build each command once, as every process does: thousands of command lines run in this one, and building takes
    four times as long as most of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "build", functools.cache(app.build))
        patch.setattr(app, "load_command", functools.cache(app.load_command))
        yield


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    for name in ("QSML_HOME", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Command lines on an empty home."""
    return Cli(tmp_path / "home")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small model file that runs."""
    return save_model(tmp_path / "linear.onnx")


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Cli]:
    """`stock(home, ("linear", 1.0), ("linear", 2.0))` makes a home with these versions, by name and scale.

    Each set is added by command once; further homes with it are copies.
    """

    @functools.cache
    def added(models: tuple[tuple[str, float], ...]) -> Path:
        folder = tmp_path_factory.mktemp("stock")
        for name, scale in models:
            path = save_model(folder / f"{name}{scale}.onnx", scale=scale)
            result = Cli(folder / "home")("add", str(path), "--name", name)
            assert result.code == 0, result
        return folder / "home"

    def copy(home: Path, *models: tuple[str, float]) -> Cli:
        shutil.copytree(added(models), home, symlinks=True)
        return Cli(home)

    return copy


@pytest.fixture(scope="module")
def stocked(stock: Callable[..., Cli], tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """Command lines on a home with `linear`, versions 1 and 2; shared by tests that do not change it."""
    return stock(tmp_path_factory.mktemp("stocked") / "home", ("linear", 1.0), ("linear", 2.0))
