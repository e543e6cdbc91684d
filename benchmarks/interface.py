"""Whether the workbench disturbs what it measures.

In tmux at 160x45 the workbench is open, a key is pressed every 100 ms, and its own key starts a benchmark of a 2 ms
model. It is compared with a bare loop in a child without any interface, in interleaved rounds of random order; a second
bare loop shows what the machine does by itself. p50 may be off by 5 % and p99 by 15 %, or by as much as bare against
bare.

Usage: python benchmarks/interface.py [--pairs 20] [--seconds 3] [--json FILE]
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import bench_models
import pairs

from quickserveml_tui.core.benchmarks import BenchmarkRun, BenchmarkSpec
from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.services.home import LocalWorkbench, open_workbench

WARMUP_S = 0.5
KEY_S = 0.1
LIMITS = {"p50": 0.05, "p99": 0.15}
ALL_CPUS = os.sched_getaffinity(0)
KEYS = ("j", "]", "k", "[")
"""Move in the catalog and through the inspector's tabs: the screen changes at each."""


class Terminal:
    """The workbench in a tmux of its own, without the user's settings."""

    def __init__(self, folder: Path, home: Path) -> None:
        settings = folder / "tmux.conf"
        settings.write_text("set -g remain-on-exit on\n")  # so that a crash can be read
        self._base = ["tmux", "-S", str(folder / "tmux.sock"), "-f", str(settings)]
        command = f"{sys.executable} -m quickserveml_tui open --home {home}"
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[1])}
        size = ["-x", "160", "-y", "45"]
        subprocess.run(
            [*self._base, "new-session", "-d", "-s", "w", *size, command],
            check=True, env=environment, preexec_fn=lambda: os.sched_setaffinity(0, ALL_CPUS),
        )  # fmt: skip
        # One control client sends all keys: a process for each would itself disturb a machine with two cores.
        self._control = subprocess.Popen(
            [*self._base, "-C", "attach", "-t", "w", "-f", "no-output,ignore-size"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def press(self, key: str) -> None:
        """Send one key."""
        assert self._control.stdin is not None
        self._control.stdin.write(f"send-keys -t w -l '{key}'\n")
        self._control.stdin.flush()

    def screen(self) -> str:
        """The text on the screen."""
        done = subprocess.run(
            [*self._base, "capture-pane", "-p", "-t", "w"], capture_output=True, text=True, check=False
        )
        return done.stdout

    def wait_for(self, text: str, timeout_s: float = 60) -> None:
        """Wait until the screen shows `text`."""
        deadline = time.monotonic() + timeout_s
        while text not in self.screen():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no “{text}” on the screen:\n{self.screen()}")
            time.sleep(0.2)

    def close(self) -> None:
        """End the workbench and tmux."""
        subprocess.run([*self._base, "kill-server"], check=False, capture_output=True)
        self._control.communicate(timeout=10)


def press_keys(terminal: Terminal, stop: threading.Event) -> None:
    """A key every 100 ms until stopped."""
    due = time.monotonic()
    for key in itertools.cycle(KEYS):
        try:
            terminal.press(key)
        except BrokenPipeError:
            return  # tmux is gone: no run will be saved, and that is reported
        due += KEY_S
        if stop.wait(max(due - time.monotonic(), 0)):
            return


def measure_in_workbench(folder: Path, bench: LocalWorkbench, seconds: float) -> BenchmarkRun:
    """Open the workbench, start a benchmark by key, press keys until its run is saved."""
    known = {run.id for run in bench.benchmark.history()}
    terminal, stop = Terminal(folder, bench.home), threading.Event()
    try:
        terminal.wait_for("conv-2ms")
        time.sleep(2)  # the warm spare starts behind the first frame
        terminal.press("b")
        keys = threading.Thread(target=press_keys, args=(terminal, stop))
        keys.start()
        try:
            return wait_for_run(bench, known, seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}:\n{terminal.screen()}") from error
        finally:
            stop.set()
            keys.join()
    finally:
        terminal.close()


def wait_for_run(bench: LocalWorkbench, known: set[str], seconds: float) -> BenchmarkRun:
    """The run that the workbench saves."""
    time.sleep(WARMUP_S + seconds)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for run in bench.benchmark.history(limit=1):
            if run.id not in known:
                return run
        time.sleep(0.3)
    raise TimeoutError("the workbench saved no run")


def prepare(folder: Path, seconds: float) -> tuple[LocalWorkbench, Path]:
    """A home with a 2 ms model and the settings of the run, and the model."""
    model = bench_models.convolutions(folder, "conv-2ms", layers=26)
    bench = open_workbench(folder / "home")
    bench.catalog.add(AddRequest(str(model)))
    settings = {"duration_s": seconds, "warmup_s": WARMUP_S, "threads": 1}
    (bench.home / "ui.json").write_text(json.dumps(settings))
    return bench, model


def judge(results: dict) -> dict:
    """Ratios, limits and the verdict."""
    document: dict = {}
    for key, limit in LIMITS.items():
        ratio = pairs.median(pairs.ratios(results, "workbench", "bare", key))
        spread = pairs.spread(pairs.ratios(results, "again", "bare", key))
        document[key] = {
            "workbench_ms": pairs.median([result[key] for result in results["workbench"]]),
            "bare_ms": pairs.median([result[key] for result in results["bare"]]),
            "ratio": ratio,
            "bare_ratio": pairs.median(pairs.ratios(results, "again", "bare", key)),
            "bare_spread": spread,
            "limit": max(limit, spread),
            "passed": abs(ratio - 1) <= max(limit, spread),
        }
    return document


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", metavar="FILE", help="write the results here too")
    args = parser.parse_args()
    if shutil.which("tmux") is None:
        print("tmux is needed.", file=sys.stderr)
        return 4
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench, model = prepare(folder, args.seconds)
        try:
            spec = BenchmarkSpec(duration_s=0.2, warmup_s=0)
            cpus = bench.benchmark.run(str(model), spec, save=False).fingerprint.pinned_cpus

            # The hand that presses the keys is no part of the machine; tmux and the workbench are.
            os.sched_setaffinity(0, (ALL_CPUS - set(cpus)) or ALL_CPUS)

            def in_workbench() -> dict[str, float]:
                summary = measure_in_workbench(folder, bench, args.seconds).summary
                return {"p50": summary.latency_ms.p50, "p99": summary.latency_ms.p99, "n": summary.n}

            sides = {
                "workbench": in_workbench,
                "bare": lambda: pairs.bare(model, args.seconds, WARMUP_S, cpus),
                "again": lambda: pairs.bare(model, args.seconds, WARMUP_S, cpus),
            }
            results = pairs.interleave(sides, args.pairs)
        finally:
            bench.close()
    document = judge(results)
    print(f"{'':>4} {'bare ms':>9} {'workbench':>9} {'ratio':>7} {'bare/bare':>9} {'spread':>7} {'limit':>7}")
    for key, row in document.items():
        print(
            f"{key:>4} {row['bare_ms']:>9.3f} {row['workbench_ms']:>9.3f} {row['ratio']:>7.3f} "
            f"{row['bare_ratio']:>9.3f} {row['bare_spread']:>7.1%} {row['limit']:>7.1%}  "
            f"{'passed' if row['passed'] else 'FAILED'}"
        )
    if args.json:
        whole = {"benchmark": "interface", "pairs": args.pairs, "cpus": list(cpus), **document, "rounds": results}
        Path(args.json).write_text(json.dumps(whole, indent=2) + "\n")
    return 0 if all(row["passed"] for row in document.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
