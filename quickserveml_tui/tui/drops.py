"""Paths in a paste: terminals turn a dropped file into its path, each in its own way of quoting."""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

MAX_PASTE = 64_000
MAX_PATHS = 200


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, posix=True)
    except ValueError:  # an apostrophe in an unquoted name
        return [line]


def _to_path(word: str) -> Path | None:
    if word.startswith("file://"):
        parts = urlsplit(word)
        if parts.netloc not in ("", "localhost"):
            return None
        word = unquote(parts.path)
    if not word or "\0" in word:
        return None
    path = Path(word)
    if word.startswith("~"):
        try:
            path = path.expanduser()
        except RuntimeError:  # no such user
            return None
    return path if path.is_absolute() else None


def _exists(path: Path | None) -> bool:
    try:
        return path is not None and path.exists()
    except OSError:
        return False


def dropped_paths(text: str) -> tuple[Path, ...]:
    """The existing files and folders that a paste names, if it names nothing else; empty for any other text.

    Understands plain, quoted and backslash-escaped paths, `file://` addresses, several in one line or one a line.
    Touches the file system, so call it from a worker thread.
    """
    if not text.strip() or len(text) > MAX_PASTE:
        return ()
    found: dict[Path, None] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        whole = _to_path(line)
        paths = [whole] if _exists(whole) else [_to_path(word) for word in _words(line)]
        for path in paths:
            if path is None or not _exists(path) or len(found) >= MAX_PATHS:
                return ()
            found[path] = None
    return tuple(found)


def expanded(path: str) -> str:
    """`path` with `~` resolved where it names somebody; as it is otherwise."""
    try:
        return str(Path(path).expanduser())
    except RuntimeError:  # `~nobody`
        return path
