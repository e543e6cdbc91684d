"""Copying text out of a terminal: a native tool, else the terminal's own sequence, else a file."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

MAX_OSC52 = 74_000
"""Bytes of text; many terminals drop a longer OSC 52 without a word."""
TOOL_TIMEOUT_S = 2.0


def _tools(env: Mapping[str, str]) -> list[list[str]]:
    remote = bool(env.get("SSH_CONNECTION") or env.get("SSH_TTY"))
    tools: list[list[str]] = []
    if not remote and env.get("WAYLAND_DISPLAY"):
        tools.append(["wl-copy"])
    if not remote and env.get("DISPLAY"):
        tools += [["xclip", "-selection", "clipboard"], ["xsel", "--clipboard", "--input"]]
    if not remote:
        tools += [["pbcopy"], ["clip.exe"]]
    if env.get("TMUX"):
        # tmux swallows a bare OSC 52 unless told otherwise; -w makes it pass the text on to its own terminal.
        tools.append(["tmux", "load-buffer", "-w", "-"])
    return tools


def copy_with_tool(text: str, env: Mapping[str, str] | None = None) -> str:
    """Hand `text` to the first native tool that takes it; returns its name, or an empty string."""
    for command in _tools(os.environ if env is None else env):
        if shutil.which(command[0]) is None:
            continue
        try:
            subprocess.run(
                command,
                input=text.encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=TOOL_TIMEOUT_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return command[0]
    return ""


def copy_to_file(text: str, home: Path) -> Path:
    """Write `text` to `clipboard.txt` below `home`, for terminals that cannot be told. Raises `OSError`."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = home / "clipboard.txt"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path
