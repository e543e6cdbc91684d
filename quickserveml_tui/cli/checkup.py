"""What `doctor` looks at."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quickserveml_tui.cli.checkup_stores import LITTLE_SPACE, Finding, examine_stores
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import format_bytes, significant

if TYPE_CHECKING:
    from quickserveml_tui.cli.front import Invocation

_PACKAGES = (
    "onnxruntime",
    "onnx",
    "numpy",
    "textual",
    "typer",
    "fastapi",
    "uvicorn",
    "tinydb",
    "pydantic",
    "msgspec",
    "orjson",
)


def examine(invocation: Invocation) -> list[Finding]:
    """Look at everything; a part that fails is a finding, never an exception."""
    parts: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("Machine", _machine),
        ("Settings", lambda: _settings(invocation)),
        ("Stores", lambda: examine_stores(invocation)),
        ("Runtime", lambda: _runtime(invocation)),
        ("Terminal", _terminal),
    )
    return [finding for area, part in parts for finding in _guarded(area, part)]


def _guarded(area: str, part: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from part()
    except QuickServeError as error:
        yield Finding(area, "check", "error", error.message, error.hint)
    except OSError as error:
        yield Finding(area, "check", "error", safe_text(error, 300), "See what the system allows this user to do.")


def _machine() -> Iterator[Finding]:
    from quickserveml_tui.runtime import host

    area, status = "Machine", host.host_status()
    yield Finding(area, "system", "ok", f"{platform.system()} {platform.release()}, Python {platform.python_version()}")
    yield Finding(area, "processor", "ok", f"{host.cpu_model()}, {plural(status.cores, 'core')} for this process")
    if status.cores < 2:
        hint = "Tails of a benchmark will be too high while anything else runs."
        yield Finding(area, "cores", "warn", "One core: a measured process cannot have its own.", hint)
    memory = f"{format_bytes(status.memory_available_bytes)} of {format_bytes(status.memory_total_bytes)} free"
    yield Finding(area, "memory", "ok" if status.memory_available_bytes > LITTLE_SPACE else "warn", memory)
    load = f"{significant(status.load)} over the last minute"
    hint = "" if status.quiet else "Benchmarks will be noisy; end other work first."
    yield Finding(area, "load", "ok" if status.quiet else "warn", load, hint)
    governor = host.governor()
    if governor:
        slow = governor == "powersave"
        yield Finding(area, "governor", "warn" if slow else "ok", governor, "Latency varies with it." if slow else "")
    able = [name for name, has in (("pin to cores", host.CAN_PIN), ("limit memory", host.CAN_LIMIT_MEMORY)) if has]
    yield Finding(
        area, "isolation", "ok" if len(able) == 2 else "warn", f"can {' and '.join(able) or 'neither pin nor limit'}"
    )


def _settings(invocation: Invocation) -> Iterator[Finding]:
    from quickserveml_tui.config.files import project_file, user_file

    user, project = user_file(), project_file()
    files = [str(path) for path in (project, user if user.exists() else None) if path]
    loaded = invocation.loaded
    changed = len(loaded.sources)
    yield Finding("Settings", "files", "ok", ", ".join(files) or "none, defaults hold")
    yield Finding("Settings", "values", "ok", f"{plural(changed, 'setting')} changed, all valid")


def _runtime(invocation: Invocation) -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    for package in _PACKAGES:
        try:
            yield Finding("Runtime", package, "ok", version(package))
        except PackageNotFoundError:
            yield Finding("Runtime", package, "error", "is not installed", f"python3 -m pip install {package}")
    yield _providers()
    yield from _runner(invocation)


def _providers() -> Finding:
    """The runtime's providers, asked in a process of its own: a broken runtime must not end the doctor."""
    import subprocess

    from quickserveml_tui.runtime.child import child_environment

    code = "from quickserveml_tui.runtime.session import available_providers; print(*available_providers())"
    try:
        answer = subprocess.run(
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env=child_environment(),
        )
    except (subprocess.SubprocessError, OSError) as error:
        detail = safe_text((getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1:], 200)
        return Finding(
            "Runtime", "providers", "error", f"The runtime cannot be loaded: {detail}", "Install onnxruntime again."
        )
    return Finding("Runtime", "providers", "ok", ", ".join(answer.stdout.split()))


def _runner(invocation: Invocation) -> Iterator[Finding]:
    import tempfile

    from quickserveml_tui.services.compatibility import takes_line
    from quickserveml_tui.services.home import open_workbench

    home = invocation.home_path()
    with tempfile.TemporaryDirectory() as elsewhere:  # looking must not create a home
        workbench = open_workbench(home if home.exists() else Path(elsewhere))
        try:
            with workbench.runners.borrow() as runner:
                yield Finding("Runtime", "runner", "ok", f"starts (process {runner.pid})")
            yield Finding("Runtime", "formats", "ok", takes_line(workbench.limits.limits()))
        except QuickServeError as error:
            yield Finding("Runtime", "runner", "error", error.message, error.hint)
        finally:
            workbench.close()


def _terminal() -> Iterator[Finding]:
    area, environment = "Terminal", os.environ
    if not sys.stdout.isatty():
        yield Finding(area, "output", "ok", "not a terminal: text without colour")
    else:
        size = shutil.get_terminal_size()
        small = size.columns < 60 or size.lines < 16
        hint = "The workbench needs at least 60x16." if small else ""
        yield Finding(area, "size", "warn" if small else "ok", f"{size.columns}x{size.lines}", hint)
        yield Finding(area, "type", "ok", safe_text(environment.get("TERM") or "unset", 60) + _inside(environment))
        yield Finding(area, "colours", "ok", _colours(environment))
    encoding = (getattr(sys.stdout, "encoding", None) or "unknown").lower()
    is_utf = encoding.startswith("utf")
    hint = "" if is_utf else "Figures are drawn with ASCII; set a UTF-8 locale for the real ones."
    yield Finding(area, "encoding", "ok" if is_utf else "warn", encoding, hint)


def _inside(environment: Any) -> str:
    inside = [
        name
        for name, variable in (("tmux", "TMUX"), ("screen", "STY"), ("ssh", "SSH_CONNECTION"))
        if environment.get(variable)
    ]
    return f", inside {' and '.join(inside)}" if inside else ""


def _colours(environment: Any) -> str:
    if environment.get("NO_COLOR"):
        return "off by NO_COLOR"
    term = environment.get("TERM", "")
    if term in ("", "dumb"):
        return "none"
    if environment.get("COLORTERM", "") in ("truecolor", "24bit"):
        return "16 million"
    return "256" if "256" in term else "16"
