"""Names of models made from where their files lie: many repositories call every file `model.onnx`."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from quickserveml_tui.core.refs import MAX_NAME, name_from_path

MAX_FOLDERS = 4
"""Folders that a name is made of at most."""

_GENERIC_FILE = re.compile(
    r"(?:model|network|net|graph|weights|export|exported|saved_model|inference|best|last|checkpoint|pytorch_model)"
    r"(?:[._-](?:quantized|optimized|int8|uint8|qint8|fp16|fp32|float16|q4|q4f16|q8|bnb4|merged|simplified|sim))*"
)
_GENERIC_FOLDER = re.compile(r"onnx|models?|weights|exports?|\d+|\.+|")


def is_generic(path: Path) -> bool:
    """Whether the file's name says nothing of the model, such as `model.onnx` and `model_quantized.onnx`."""
    return _GENERIC_FILE.fullmatch(path.stem.lower()) is not None


def names_from_paths(paths: Sequence[str]) -> list[str]:
    """A model name for each file: that of the file, and of its folders where the file's is generic or there twice.

    A single file has its own name. The same file twice has one name; no two others share one.
    """
    places = [os.path.abspath(os.path.expanduser(path)) for path in paths]  # noqa: PTH100, PTH111 - takes NUL as well
    files = list(dict.fromkeys(places))
    names = dict(zip(files, _distinct([Path(file) for file in files]), strict=True))
    return [names[place] for place in places]


def _distinct(files: Sequence[Path]) -> list[str]:
    plain = [name_from_path(file) for file in files]
    if len(files) == 1:
        return plain
    uses = Counter(plain)
    folded = [is_generic(file) or uses[name] > 1 for file, name in zip(files, plain, strict=True)]
    depth = dict.fromkeys((at for at, is_folded in enumerate(folded) if is_folded), 1)
    siblings = Counter(files[at].parent for at in depth)
    names = plain
    for _round in range(MAX_FOLDERS):
        names = [
            _name(file, depth[at], whole=siblings[file.parent] > 1) if at in depth else plain[at]
            for at, file in enumerate(files)
        ]
        uses = Counter(names)
        shared = [at for at in depth if uses[names[at]] > 1]
        if not shared:
            return names
        for at in shared:
            depth[at] += 1
    return _numbered(names)


def _name(file: Path, folders: int, *, whole: bool) -> str:
    """The nearest folders that have a telling name, and the file's own where it tells, or `whole` asks for it."""
    telling = [part for part in file.parts[1:-1] if not _GENERIC_FOLDER.fullmatch(part.lower())]
    parts = telling[-folders:]
    if not parts or not is_generic(file) or (whole and file.stem.lower() != "model"):
        parts.append(file.stem)
    return name_from_path(Path("-".join(parts) + ".onnx"))


def _numbered(names: Sequence[str]) -> list[str]:
    """The names, each further one of the same with a number that makes it another."""
    taken, seen = set(names), set[str]()
    made = []
    for name in names:
        number, free = 1, name
        while free in seen or (number > 1 and free in taken):
            number += 1
            free = f"{name[: MAX_NAME - 8].rstrip('._-')}-{number}"
        seen.add(free)
        made.append(free)
    return made
