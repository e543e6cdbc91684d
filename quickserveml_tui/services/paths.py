"""Paths that users give."""

from __future__ import annotations

from pathlib import Path

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text


def user_path(given: str | Path) -> Path:
    """The absolute path that a user means, `~` expanded; it need not exist.

    Raises `UsageError` (`usage.path`) for what no file of this system can be called, for an unknown user after `~`, and
    for names that are not valid Unicode: results name their files, and could not be kept.
    """
    try:
        path = Path(given).expanduser().absolute()
        str(path).encode("utf-8")
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except UnicodeEncodeError as error:
        raise _unusable(given, "its name is not valid Unicode", "Rename the file.") from error
    except (ValueError, RuntimeError) as error:
        raise _unusable(given, "it holds NUL or names an unknown user", "Write the whole path, without ~.") from error
    except OSError as error:
        raise _unusable(given, safe_text(error.strerror or "it cannot be reached", 80), "Check the path.") from error
    return path


def _unusable(given: str | Path, why: str, hint: str) -> UsageError:
    name = safe_text(str(given).rstrip("/").rpartition("/")[2], 80)
    return UsageError(f"The path to “{name}” cannot be used: {why}.", hint=hint, code="usage.path")
