"""Asking before something that cannot be undone, or that hits more than was named."""

from __future__ import annotations

import sys

from quickserveml_tui.core.errors import CancelledError, UsageError
from quickserveml_tui.core.text import safe_text


def confirm(question: str, *, as_json: bool, otherwise: str) -> None:
    """Ask on the terminal; `otherwise` says what did not happen, such as `Nothing was purged.`

    Raises `CancelledError` unless the answer is yes, and `UsageError` where nobody can be asked.
    """
    if as_json or not sys.stdin.isatty():
        raise UsageError(f"This needs a yes: {safe_text(question)}", hint="Add --yes.")
    sys.stderr.write(f"{safe_text(question)} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CancelledError(otherwise)
