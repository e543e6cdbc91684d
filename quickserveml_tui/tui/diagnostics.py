"""The log file and the report of a crash: stderr is the screen, so nothing is ever written there."""

from __future__ import annotations

import logging
import platform
import tempfile
import traceback
from pathlib import Path

from quickserveml_tui._version import __version__
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.text import safe_lines

LOGGER_NAME = "quickserveml_tui"
LOG_BYTES = 1_000_000
LOG_FILES = 3


def silence() -> None:
    """Keep the logger from falling back to stderr before the home is known."""
    logger = logging.getLogger(LOGGER_NAME)
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.propagate = False


def log_to(home: Path) -> Path | None:
    """Send the log to `logs/workbench.log` below `home`, at most 4 MB in all; None where that is not possible."""
    from logging.handlers import RotatingFileHandler

    path = home / "logs" / "workbench.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8")
    except OSError:
        return None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger(LOGGER_NAME)
    stop_logging()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return path


def stop_logging() -> None:
    """Close the log files that this module opened."""
    logger = logging.getLogger(LOGGER_NAME)
    for handler in list(logger.handlers):
        if isinstance(handler, logging.FileHandler):
            logger.removeHandler(handler)
            handler.close()


def _redact(text: str) -> str:
    return safe_lines(text.replace(str(Path.home()), "~"))


def write_crash_report(error: BaseException, home: Path | None) -> Path | None:
    """Write where the program was when `error` struck: frames and lines, no local variables, no arguments.

    Returns the file's path, or None where not even that could be written.
    """
    frames = "".join(traceback.format_exception(error))
    body = (
        f"quickserveml {__version__}\npython {platform.python_version()}\nsystem {platform.system()} "
        f"{platform.release()}\nat {utc_now()}\n\n{_redact(frames)}\n"
    )
    folders = ([home / "logs"] if home else []) + [Path(tempfile.gettempdir())]
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", prefix="crash-", suffix=".txt", dir=folder, delete=False
            ) as file:
                file.write(body)
                return Path(file.name)
        except OSError:
            continue
    return None
