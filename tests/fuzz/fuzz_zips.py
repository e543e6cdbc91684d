"""Files of values, and changes to them behind the checksums that a zip file holds."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable

import numpy as np

Bend = Callable[[random.Random, bytes], bytes]
MAX_MEMBER_BYTES = 64 * 1024


def seeds() -> list[bytes]:
    """Files of values of every kind, plain and compressed archives."""
    import ml_dtypes

    from quickserveml_tui.core.values import SparseValue
    from quickserveml_tui.runtime.value_files import save_values

    ones = np.ones((2, 3), np.float32)
    kinds = {
        "arrays": {"x": ones, "i": np.arange(5), "b": np.array([True, False]), "scalar": np.float64(1).reshape(())},
        "texts": {"t": np.array([["a", "ü"], ["", "x[/]y"]], dtype=object)},
        "narrow": {"h": ones.astype(ml_dtypes.bfloat16), "q": np.arange(4).astype(ml_dtypes.int4)},
        "nested": {"s": [ones, ones], "m": {"a": 1.0, "b": 2.0}, "n": {1: 0.5}, "l": [{1: 0.5}, {2: 0.25}], "o": None},
        "sparse": {"p": SparseValue(np.ones(2, np.float32), np.array([[0, 1], [1, 0]]), (2, 2))},
    }
    found = [save_values(values) for values in kinds.values()]
    for write in (np.savez, np.savez_compressed):
        out = io.BytesIO()
        write(out, x=ones, y=np.array(["one", "two"]), z=np.zeros(3, [("a", "<i4")]))
        found.append(out.getvalue())
    return found


def change_zip(data: bytes, rng: random.Random, bend: Bend) -> bytes | None:
    """An archive with a member changed, and sums that fit; None where there is no archive to change."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()[:64]
            if any(info.file_size > MAX_MEMBER_BYTES for info in infos):
                return None
            members = [(info.filename, archive.read(info)) for info in infos]
    except Exception:  # zipfile raises a dozen types for what is no archive
        return None
    if not members:
        return None
    at = rng.randrange(len(members))
    name, content = members[at]
    kind = rng.randrange(7)
    if kind <= 3:
        members[at] = (name, bend(rng, content))
    elif kind == 4:
        members.append((rng.choice((name, "../" + name, "/" + name, name + ".npy", "", "\0.npy")), content))
    elif kind == 5:
        del members[at]
    else:
        members[at] = (name, rng.choice(members)[1])
    return _write(members, rng)


def _write(members: list[tuple[str, bytes]], rng: random.Random) -> bytes:
    import warnings

    out = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as archive:
        warnings.simplefilter("ignore")  # of two members with one name
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, method)
    return out.getvalue()
