"""Reads damaged copies of a model, each of which must be read or refused; run as a child, for damage may kill it."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.graph import reading
from quickserveml_tui.graph.facts import read_facts
from quickserveml_tui.graph.layers import read_layers


def damaged(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at, kind = rng.randrange(len(out)), rng.random()
        if kind < 0.5:
            out[at] = rng.randrange(256)
        elif kind < 0.7:
            del out[at : at + rng.randint(1, 8)]
        elif kind < 0.9:
            out[at:at] = rng.randbytes(rng.randint(1, 6))
        else:
            del out[at + 1 :]
        out = out or bytearray(b"\x08")
    return bytes(out)


def main(source: Path, count: int) -> None:
    data, path = source.read_bytes(), source.with_name("mutant.onnx")
    for seed in range(count):
        rng = random.Random(seed)
        path.write_bytes(damaged(data, rng))
        reading.MIN_FILE_BYTES = rng.choice([0, 2**40])
        for read in (read_facts, read_layers):
            try:
                read(path)
            except ModelError as error:
                if not error.hint:
                    raise
            except BaseException:
                print(f"seed {seed} of {source.name}", file=sys.stderr)
                raise


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
