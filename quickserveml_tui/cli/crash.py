"""Reports of unexpected errors: where it happened, without values and without what could identify anyone."""

from __future__ import annotations

import os
import platform
import re
import sys
import traceback
from pathlib import Path

from quickserveml_tui._version import __version__
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import QuickServeError, ReadOnlyError
from quickserveml_tui.core.jobs import new_id
from quickserveml_tui.core.text import safe_lines, safe_text
from quickserveml_tui.storage.fs import make_private_dir

MAX_REPORTS = 20
MAX_REPORT = 64_000

_SECRETS = re.compile(
    r"(qsml_[A-Za-z0-9]+_)[A-Za-z0-9_-]+"
    r"|((?:authorization|api[-_]?key|token|secret|password)\s*[=:]\s*)(?:bearer\s+)?\S+",
    re.IGNORECASE,
)
_ADDRESS_USER = re.compile(r"(\w+://)[^/\s@]+@")


def redact(text: str) -> str:
    """`text` without keys, passwords and the name of the user's home folder."""
    text = _SECRETS.sub(lambda match: (match[1] or match[2]) + "[redacted]", text)
    text = _ADDRESS_USER.sub(r"\1[redacted]@", text)
    home = os.path.expanduser("~")  # noqa: PTH111 - a home that cannot be found stays as it is
    return text.replace(home, "~") if len(home) > 1 else text


def render(error: BaseException) -> str:
    """The report: versions, the command's name and the traceback without locals."""
    command = next((word for word in sys.argv[1:] if re.fullmatch(r"[a-z][a-z-]{1,30}", word)), "")
    frames = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    text = (
        f"quickserveml {__version__}\nat {utc_now()}\ncommand {command}\n"
        f"python {platform.python_version()} on {platform.system()} {platform.release()} {platform.machine()}\n\n"
        f"{frames}"
    )
    return redact(safe_lines(text))[:MAX_REPORT] + "\n"


def write(error: BaseException, logs: Path) -> Path:
    """Write the report below `logs`, keeping the newest 20. Raises `OSError`."""
    make_private_dir(logs)
    path = logs / f"{new_id('crash')}.txt"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(render(error))
    for old in sorted(logs.glob("crash-*.txt"), key=lambda item: item.stat().st_mtime)[:-MAX_REPORTS]:
        old.unlink(missing_ok=True)
    return path


def crash_error(error: BaseException) -> QuickServeError:
    """The error that tells of an unexpected one, its report written under the home's logs."""
    from quickserveml_tui.cli.front import invocation

    what = safe_text(redact(f"{type(error).__name__}: {error}"), 300)
    try:
        if invocation.settings.read_only:
            raise ReadOnlyError("The home is opened read-only.")
        path = write(error, invocation.home_path() / "logs")
    except (OSError, QuickServeError):
        return QuickServeError(f"Something unexpected happened: {what}.", hint="A report could not be written.")
    return QuickServeError(f"Something unexpected happened: {what}.", hint=f"A report without your data is in {path}.")
