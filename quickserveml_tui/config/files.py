"""Settings files: where they are and what they hold."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text

APPLICATION = "quickserveml"
PROJECT_NAMES = ("quickserveml.toml", "quickserveml.yaml", "quickserveml.json")
MAX_FILE = 1_000_000


def user_file() -> Path:
    """The user's settings file; it need not exist."""
    from platformdirs import user_config_path

    return user_config_path(APPLICATION, appauthor=False) / "config.toml"


def default_home() -> Path:
    """The platform's data folder for this program."""
    from platformdirs import user_data_path

    return user_data_path(APPLICATION, appauthor=False)


def _search_path(start: Path) -> Iterator[Path]:
    """The folder and its parents up to the root of the git checkout; outside of one the folder alone.

    Not further: above a checkout lie folders, such as /tmp, where another user could leave a file.
    """
    folders = [start, *start.parents]
    root = next((folder for folder in folders if (folder / ".git").exists()), start)
    for folder in folders:
        yield folder
        if folder == root:
            return


def project_file(start: Path | None = None) -> Path | None:
    """The nearest project file. Raises `UsageError` where one folder holds several."""
    for folder in _search_path(start or Path.cwd()):
        found = [folder / name for name in PROJECT_NAMES if (folder / name).exists()]
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise UsageError(
                f"{safe_text(folder)} holds {names}.", hint="Keep one of them.", code="config.ambiguous_file"
            )
        if found:
            return found[0]
    return None


def read_text(path: Path) -> str:
    """The text of a settings file. Raises `UsageError` for anything but a readable text file of at most 1 MB."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _unreadable(path, "it is not a regular file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise _unreadable(path, "it is larger than 1 MB")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise _unreadable(path, (error.strerror or "it cannot be read").lower()) from error
    except UnicodeDecodeError as error:
        raise _unreadable(path, "it is not UTF-8 text") from error
    except ValueError as error:  # a null byte or half a surrogate pair
        raise _unreadable(path, "no file has such a name") from error


def read_document(path: Path) -> dict[str, Any]:
    """The settings in a TOML, YAML or JSON file. Raises `UsageError` (`config.unreadable`)."""
    text = read_text(path)
    try:
        document = _parse(path, text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, safe_text(error, 200)) from error
    if not isinstance(document, dict):
        raise _unreadable(path, "it holds no names with values")
    if not all(isinstance(key, str) for key in document):
        raise _unreadable(path, "a key is not text")
    return document


def _parse(path: Path, text: str) -> Any:
    if path.suffix == ".toml":
        import tomllib

        return tomllib.loads(text)
    if path.suffix == ".json":
        import json

        return json.loads(text)
    try:
        import yaml  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise _unreadable(path, "YAML needs the package PyYAML; install it or write TOML or JSON") from None
    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(error) from error


def _unreadable(path: Path, why: str) -> UsageError:
    return UsageError(
        f"The file {safe_text(path, 200)} cannot be used: {why}.",
        hint="Check its path, correct it, or move it away.",
        code="config.unreadable",
    )


def write_text(path: Path, text: str) -> None:
    """Replace a settings file as a whole. Raises `UsageError` where it cannot be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _unreadable(path, (error.strerror or "it cannot be written").lower()) from error
