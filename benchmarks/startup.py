"""How long the program takes to start, against the least that Python, Typer and Textual take.

    python benchmarks/startup.py [--pairs 20] [--json]

Four ratios, each of interleaved pairs in random order:
  version      `--version` against `python -c 'import re, sys'`, which any console script costs
  help         `--help` against an empty Typer application with as many commands
  first frame  the workbench in a pseudo-terminal until its first pane is named, against a Textual application that
               composes as many widgets of the same classes as the first frame consists of

"The same classes" can be read in two ways, and both are measured. Strictly, each widget counts as its nearest Textual
base class (`first frame`, the promise). Or it counts as itself (`own classes`): a bare application that composes our
header, panes, status line and footer, without the workbench's screen, styles and settings. Both sides run in an
environment of an installed program, where modules are compiled. What the workbench mounts after its first frame,
because it is hidden until there is something to show, is in neither count.

A ratio is the median of the pairs' ratios with a 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pty
import random
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from struct import pack
from termios import TIOCSWINSZ

ROOT = Path(__file__).resolve().parents[1]
COLUMNS, ROWS = 120, 40
DEADLINE_S = 30.0
LIMITS = {"version": 1.3, "help": 1.3, "first frame": 1.5, "own classes": 1.5}
SCRIPT = "import re, sys; from quickserveml_tui.cli.entry import main; sys.argv[0] = 'quickserveml'; main()"

EMPTY_TYPER = """
import typer
application = typer.Typer(rich_markup_mode=None, add_completion=False)
for name in {names!r}:
    def command() -> None:
        "One sentence about the command."
    application.command(name)(command)
"""

MINIMAL_TEXTUAL = """
from importlib import import_module
from textual.app import App
from textual.widgets import Static
class Minimal(App):
    def compose(self):
        yield Static("first frame")
        for module, name, count in {classes!r}:
            for _ in range(count):
                yield getattr(import_module(module), name)()
"""


OWN_CLASSES = """
from textual.app import App
from textual.containers import Container
from quickserveml_tui.tui.jobs import JobLane
from quickserveml_tui.tui.pane_tabs import PaneTabs
from quickserveml_tui.tui.panes.benchmark import BenchmarkPane
from quickserveml_tui.tui.panes.catalog import CatalogPane
from quickserveml_tui.tui.panes.inspector import InspectorPane
from quickserveml_tui.tui.panes.jobs import JobsPane
from quickserveml_tui.tui.sheets.sheet import Sheet
from quickserveml_tui.tui.themes import ThemeSupport
from quickserveml_tui.tui.widgets.key_footer import KeyFooter
from quickserveml_tui.tui.widgets.status import HeaderBar, StatusLine
class Minimal(ThemeSupport, App):
    def compose(self):
        yield HeaderBar()
        yield PaneTabs()
        with Container():
            yield CatalogPane()
            yield InspectorPane()
            yield BenchmarkPane()
            yield JobsPane(JobLane())
        yield StatusLine()
        yield KeyFooter()
        yield Sheet()
"""


def environment(folder: Path) -> dict[str, str]:
    """The environment of an installed program: modules are compiled, as pip does it for all of them."""
    unwanted = ("QSML_", "NO_COLOR", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {
        **kept,
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(folder))),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
    }


def time_to_end(command: list[str], env: dict[str, str]) -> float:
    """Seconds until a process has ended."""
    start = time.perf_counter()
    subprocess.run(
        command, env=env, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=True, cwd=env["XDG_DATA_HOME"]
    )
    return time.perf_counter() - start


def time_to_text(command: list[str], env: dict[str, str], text: bytes) -> float:
    """Seconds until a process has painted `text` on a pseudo-terminal; it is ended then."""
    start = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(env["XDG_DATA_HOME"])
        os.execve(command[0], command, env)
    try:
        ioctl(terminal, TIOCSWINSZ, pack("HHHH", ROWS, COLUMNS, 0, 0))
        return _until(terminal, text, start)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def _until(terminal: int, text: bytes, start: float) -> float:
    seen = b""
    while time.perf_counter() - start < DEADLINE_S:
        if select.select([terminal], [], [], 1.0)[0]:
            try:
                seen += os.read(terminal, 65536)
            except OSError:
                break
            if text in seen:
                return time.perf_counter() - start
    raise SystemExit(f"{text!r} was not painted; the last output was {seen[-500:]!r}")


def widget_classes(env: dict[str, str]) -> list[tuple[str, str, int]]:
    """Textual classes that the first frame of the workbench is made of, with their number."""
    return asyncio.run(_widget_classes(Path(env["XDG_DATA_HOME"]) / "quickserveml"))


async def _widget_classes(home: Path) -> list[tuple[str, str, int]]:
    from quickserveml_tui.services.home import open_workbench
    from quickserveml_tui.tui.app import WorkbenchApp
    from quickserveml_tui.tui.options import WorkbenchOptions

    app = WorkbenchApp(lambda: open_workbench(home), WorkbenchOptions(home=str(home)))
    counts: Counter[tuple[str, str]] = Counter()

    async def count() -> None:
        for widget in app.screen.walk_children():
            base = next(kind for kind in type(widget).__mro__ if kind.__module__.startswith("textual."))
            counts[base.__module__, base.__qualname__] += 1

    # What would come after the first frame is not part of it.
    app.bench.furnish = count  # type: ignore[method-assign]
    async with app.run_test(size=(COLUMNS, ROWS)) as pilot:
        await pilot.pause()
    return [(module, name, count) for (module, name), count in sorted(counts.items())]


def interleave(ours: Callable[[], float], base: Callable[[], float], pairs: int) -> list[tuple[float, float]]:
    """Times of both, in random order within each pair; the first pair warms the caches and is dropped."""
    times = []
    for _ in range(pairs + 1):
        if random.random() < 0.5:
            mine = ours()
            times.append((mine, base()))
        else:
            other = base()
            times.append((ours(), other))
    return times[1:]


def summarise(times: list[tuple[float, float]]) -> dict[str, float]:
    ratios = [mine / other for mine, other in times]
    medians = sorted(statistics.median(random.choices(ratios, k=len(ratios))) for _ in range(2000))
    return {
        "ratio": statistics.median(ratios),
        "low": medians[50],
        "high": medians[1949],
        "ours_ms": statistics.median(mine for mine, _ in times) * 1000,
        "base_ms": statistics.median(other for _, other in times) * 1000,
        "pairs": len(times),
    }


def measure(pairs: int, folder: Path) -> dict[str, dict[str, float]]:
    from quickserveml_tui.cli.commands import COMMANDS

    env = environment(folder)
    (folder / "data").mkdir()
    names = [entry.name for entry in COMMANDS.values() if not entry.hidden]
    (folder / "empty_typer.py").write_text(EMPTY_TYPER.format(names=names))
    (folder / "minimal_textual.py").write_text(MINIMAL_TEXTUAL.format(classes=widget_classes(env)))
    (folder / "own_classes.py").write_text(OWN_CLASSES)
    python = sys.executable
    runs: dict[str, tuple[Callable[[], float], Callable[[], float]]] = {
        "version": (
            lambda: time_to_end([python, "-c", SCRIPT, "--version"], env),
            lambda: time_to_end([python, "-c", "import re, sys"], env),
        ),
        "help": (
            lambda: time_to_end([python, "-c", SCRIPT, "--help"], env),
            lambda: time_to_end([python, "-c", "from empty_typer import application; application()", "--help"], env),
        ),
        "first frame": (
            lambda: time_to_text([python, "-c", SCRIPT], env, b"Catalog"),
            lambda: time_to_text(
                [python, "-c", "from minimal_textual import Minimal; Minimal().run()"], env, b"first frame"
            ),
        ),
        "own classes": (
            lambda: time_to_text([python, "-c", SCRIPT], env, b"Catalog"),
            lambda: time_to_text([python, "-c", "from own_classes import Minimal; Minimal().run()"], env, b"Catalog"),
        ),
    }
    return {name: summarise(interleave(ours, base, pairs)) for name, (ours, base) in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        results = measure(arguments.pairs, Path(folder))
    if arguments.json:
        print(json.dumps({name: {**row, "limit": LIMITS[name]} for name, row in results.items()}))
        return
    print(f"{'':<12} {'ratio':>6} {'95 % interval':>15} {'limit':>6} {'ours ms':>8} {'base ms':>8} {'pairs':>6}")
    for name, row in results.items():
        interval = f"{row['low']:.2f} to {row['high']:.2f}"
        print(
            f"{name:<12} {row['ratio']:>6.2f} {interval:>15} {LIMITS[name]:>6.1f} "
            f"{row['ours_ms']:>8.1f} {row['base_ms']:>8.1f} {row['pairs']:>6}"
        )


if __name__ == "__main__":
    main()
