"""Fuzz the reading of model files for a while, and say what was found.

    python scripts/fuzz_models.py --minutes 30 --workers 2 --seed 1 --out /tmp/fuzz

With the package `atheris` installed, libFuzzer chooses the inputs; else an own loop that the lines they reach guide.
Run it again with the same folder, and it goes on. It ends with 1 if there are findings: they lie in OUT/findings.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "fuzz")]

from fuzz_watch import MAX_DEATHS, MAX_INPUT_SECONDS, Watch, WorkerFailedError  # noqa: E402
from fuzz_worker import REPLAY_EXECUTIONS, Plan, Status  # noqa: E402


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--executions", type=int, default=2**62, help="end each worker after that many")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder for corpus, state and findings")
    parser.add_argument("--target", default="all", help="index, facts, values, all (but values), or module:function")
    parser.add_argument("--engine", choices=("auto", "own", "atheris"), default="auto")
    parser.add_argument(
        "--input-seconds", type=float, default=MAX_INPUT_SECONDS, help="CPU time that an input may take"
    )
    parser.add_argument("--deaths", type=int, default=MAX_DEATHS, help="give a worker up after that many dead children")
    parser.add_argument("--replays", type=int, default=REPLAY_EXECUTIONS, help="inputs that memory is watched over")
    parser.add_argument("--node-models", action="store_true", help="start from the node tests of onnx as well")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between lines of progress")
    return parser.parse_args()


def progress(statuses: list[Status], seconds: float) -> str:
    executions = sum(status.executions for status in statuses)
    memory = max(s.anonymous_bytes for s in statuses) / 2**20
    return (
        f"{seconds:7.0f} s  {executions:9,} executions  {executions / max(seconds, 0.1):7.0f}/s  "
        f"corpus {max(s.corpus for s in statuses):5,}  steps {max(s.edges for s in statuses):6,}  "
        f"lines {max(s.lines for s in statuses):5,}  anonymous {memory:.0f} MiB"
    )


def results(out: Path) -> str:
    """Coverage by file, and how memory grew, of each worker."""
    lines = []
    for path in sorted(out.glob("worker-*/state.json")):
        state = json.loads(path.read_text())
        files = state.get("coverage", {})
        reached, held = (sum(pair[at] for pair in files.values()) for at in (0, 1))
        lines.append(
            f"{path.parent.name}: {reached:,} of {held:,} lines of functions reached "
            f"({', '.join(f'{name} {a}/{b}' for name, (a, b) in files.items() if b)}); "
            f"anonymous memory after thousands of further inputs {state.get('growth_bytes', 0) / 1024:+,.0f} KiB"
        )
    return "\n".join(lines)


def main() -> int:
    options = read_arguments()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory) as work:
        return fuzz(options, Path(work))


def fuzz(options: argparse.Namespace, work: Path) -> int:
    engine = options.engine
    if engine == "auto":
        engine = "atheris" if importlib.util.find_spec("atheris") else "own"
    out, begun = options.out.resolve(), time.monotonic()
    plans = [
        Plan(
            seed=options.seed,
            worker=worker,
            target=options.target,
            engine=engine,
            folder=out / f"worker-{worker}",
            store=out / "findings",
            work=work / str(worker),
            deadline=begun + options.minutes * 60,
            max_executions=options.executions,
            replays=options.replays,
            with_node_models=options.node_models,
        )
        for worker in range(options.workers)
    ]
    watch = Watch(plans, options.input_seconds, options.deaths)
    print(f"Engine {engine}, {options.workers} workers, seed {options.seed}.", flush=True)
    try:
        watch.run(lambda statuses: print(progress(statuses, time.monotonic() - begun), flush=True), options.every)
    except WorkerFailedError as error:
        print(error, file=sys.stderr)
        return 2
    print(results(out))
    found = watch.store.places()
    print("\n".join([f"{len(found)} findings.", *found]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
