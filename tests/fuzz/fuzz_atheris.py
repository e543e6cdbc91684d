"""The same inputs and targets below atheris (libFuzzer), which sees comparisons and runs faster than line tracing."""

from __future__ import annotations

import random
import sys
import time
from typing import NoReturn

from fuzz_mutations import MAX_INPUT_BYTES
from fuzz_worker import Board, Plan, Worker, anonymous_bytes


def fuzz(plan: Plan, board: Board) -> NoReturn:
    """Run until the deadline; ends the process, as libFuzzer does. Needs the package `atheris`."""
    import atheris

    with atheris.instrument_imports(include=["quickserveml_tui.graph", "quickserveml_tui.runtime.value_files"]):
        import fuzz_targets  # noqa: F401  # before the worker imports it: what is imported already is not instrumented

    worker = Worker(plan, board)
    corpus = plan.folder / "corpus"
    for number, data in enumerate(worker.seeds):
        (corpus / f"seed-{number:05}").write_bytes(data)
    start = worker.status.executions

    def run(data: bytes) -> None:
        worker.count()
        worker.guarded(data, lambda call: call())
        if worker.status.executions % 5_000 == 0:
            worker.status.anonymous_bytes = anonymous_bytes()
            worker.status.corpus = sum(1 for _ in corpus.iterdir())
            worker.save_state()

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        changed = atheris.Mutate(data, max_size) if rng.random() < 0.25 else worker.mutator.mutate(data, rng)
        return bytes(changed[:max_size])

    seconds = max(int(plan.deadline - time.monotonic()), 1)
    runs = min(plan.max_executions - start, 2**31 - 1)
    options = [f"-max_total_time={seconds}", f"-runs={runs}", f"-seed={plan.seed + start + 1}", "-timeout=86400",
               f"-max_len={MAX_INPUT_BYTES}", "-rss_limit_mb=0", "-print_final_stats=1", "-len_control=0",
               *(f"-handle_{name}=0" for name in ("segv", "bus", "abrt", "ill", "fpe"))]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], run, custom_mutator=change)
    atheris.Fuzz()
    raise SystemExit  # libFuzzer has ended the process by now
