"""A fluent driver for stories in a real terminal: the program under tmux, keys in, characters out.

Each terminal has a tmux server of its own (`tmux -L name -f /dev/null`), so nothing of the user's is touched, and only
that server is ended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

DEADLINE_S = 25.0
TMUX = shutil.which("tmux")
ENDED = "ended with status"


class Terminal:
    """A program in a terminal of a given size."""

    def __init__(self, command: list[str], size: tuple[int, int], env: dict[str, str], folder: Path) -> None:
        self.socket = f"qsml-test-{uuid.uuid4().hex[:10]}"
        self.size = size
        # The shell says how the program ended; tmux's own record of it is lost where SIGCHLD is.
        words = " ".join(_quote(word) for word in command)
        variables = " ".join(f"{name}={_quote(value)}" for name, value in env.items())
        script = f"{variables} {words}; echo {ENDED} $?; exec cat"
        self._tmux(
            "new-session", "-d", "-s", "main", "-x", str(size[0]), "-y", str(size[1]), "-c", str(folder), script,
            ";", "set-option", "-g", "status", "off",
        )  # fmt: skip

    def _tmux(self, *arguments: str) -> str:
        assert TMUX is not None
        # Test runners export these; a program would believe them more than its terminal.
        inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
        done = subprocess.run(
            [TMUX, "-L", self.socket, "-f", "/dev/null", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**inherited, "TERM": "xterm-256color"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    # ---- looking

    def text(self) -> str:
        """The characters on the screen."""
        return self._tmux("capture-pane", "-p", "-t", "main")

    def styled(self) -> str:
        """The screen with its escape sequences."""
        return self._tmux("capture-pane", "-p", "-e", "-t", "main")

    # ---- acting and waiting

    def press(self, *keys: str) -> Terminal:
        """Press keys by tmux's names (`Enter`, `Escape`, `C-p`) or as they are."""
        for key in keys:
            self._tmux("send-keys", "-t", "main", key)
        return self

    def write(self, text: str) -> Terminal:
        """Type text."""
        self._tmux("send-keys", "-t", "main", "-l", text)
        return self

    def paste(self, text: str) -> Terminal:
        """Paste text, bracketed where the program asked for it."""
        self._tmux("set-buffer", text)
        self._tmux("paste-buffer", "-p", "-t", "main")
        return self

    def until(self, condition: Callable[[str], bool], what: str, deadline_s: float = DEADLINE_S) -> Terminal:
        """Wait for the screen to fulfil a condition."""
        end = time.monotonic() + deadline_s
        pause = 0.02
        while True:
            text = self.text()
            if condition(text):
                return self
            assert time.monotonic() < end, f"waited {deadline_s:g} s in vain for {what}; the screen:\n{text}"
            time.sleep(pause)
            pause = min(pause * 1.5, 0.2)

    def shows(self, *words: str, deadline_s: float = DEADLINE_S) -> Terminal:
        """Wait until all words are on the screen."""
        return self.until(lambda text: all(word in text for word in words), repr(words), deadline_s)

    def lacks(self, *words: str) -> Terminal:
        """Wait until none of the words is on the screen."""
        return self.until(lambda text: not any(word in text for word in words), f"the end of {words!r}")

    def quits(self, status: int = 0) -> Terminal:
        """Wait for the program to end with this exit status and to give the screen back."""
        return self.until(lambda text: f"{ENDED} {status}" in text, f"the end with status {status}")

    def close(self) -> None:
        """End this terminal's own tmux server."""
        assert TMUX is not None
        subprocess.run(
            [TMUX, "-L", self.socket, "-f", "/dev/null", "kill-server"], capture_output=True, timeout=30, check=False
        )


def _quote(word: str) -> str:
    import shlex

    return shlex.quote(word)
