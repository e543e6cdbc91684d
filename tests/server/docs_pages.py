"""The examples in pages of the documentation, and what a reader has when following them."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from server_process import DEADLINE_S, ENVIRONMENT

from quickserveml_tui.services.home import open_workbench

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# `serve` takes a terminal of its own and `monitor` never ends: here the one goes on in the background once it has
# said that it serves, and the other shows two intervals.
_COMMAND = """#!/bin/sh
run() { exec "$PYTHON" -m quickserveml_tui "$@"; }
case "$1 $*" in
serve\\ *)
    for pid in $(cat "$SERVERS/pids" 2>/dev/null); do
        kill -TERM "$pid" 2>/dev/null && tail -s 0.05 -f /dev/null --pid="$pid"
    done
    rm -f "$SERVERS/out" && mkfifo "$SERVERS/out"
    exec 3<>"$SERVERS/out"
    (
        "$PYTHON" -m quickserveml_tui "$@" 2>"$SERVERS/log" &
        echo $! >"$SERVERS/pids"
        wait $!
        echo "Try again: the server ended with $?"
    ) >&3 2>&3 </dev/null &
    said=$(sed /^Try/q <&3)
    echo "$said"
    case "$said" in *"Try again"*) cat "$SERVERS/log" >&2; exit 1 ;; esac ;;
monitor\\ *) run "$@" --count 2 --interval 100ms ;;
*) run "$@" ;;
esac
"""


@dataclass(frozen=True)
class Example:
    page: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Whole command lines; of a console those behind a `$`, without what they print."""
        lines, found = self.text.splitlines(), []
        while lines:
            command = lines.pop(0)
            if self.kind == "console":
                if not command.startswith("$ "):
                    continue
                command = command[2:]
            while lines and not _complete(command):
                command += "\n" + lines.pop(0)
            if command.strip():
                found.append(command)
        return found


def examples(page: str) -> list[Example]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Example(page, text.count("\n", 0, found.start()) + 1, found[1], found[2]) for found in _FENCE.finditer(text)
    ]


def _complete(command: str) -> bool:
    if command.endswith("\\"):
        return False
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return True


class Reader:
    """Somebody with a folder, a home, a shell and free ports, who does what a page says."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home
        programs, self._servers = folder / "programs", folder / "servers"
        programs.mkdir()
        self._servers.mkdir()
        (programs / "quickserveml").write_text(_COMMAND)
        (programs / "quickserveml").chmod(0o755)
        with ExitStack() as held:
            sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
            self.port, self.grpc_port = (item.getsockname()[1] for item in sockets)
        self.environment = ENVIRONMENT | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "SERVERS": str(self._servers),
            "QSML_HOME": str(home),
            "QSML_SERVE_PORT": str(self.port),
            "QSML_BENCHMARK_DURATION_S": "0.1",
            "QSML_BENCHMARK_WARMUP_S": "0.1",
            "GRPC_VERBOSITY": "NONE",
        }

    def shell(self, commands: list[str]) -> str:
        """What they print; each must succeed, and curl must not be told of an error."""
        return self._run(["bash", "-euc", "\n".join(['curl() { command curl -sS -f "$@"; }', *commands])])

    def python(self, program: str) -> str:
        return self._run([sys.executable, "-c", program])

    def _run(self, command: list[str]) -> str:
        command[-1] = re.sub(r"\b800[01]\b", lambda found: self._ports[found[0]], command[-1])
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, cwd=self.folder, env=self.environment, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def _ports(self) -> dict[str, str]:
        return {"8000": str(self.port), "8001": str(self.grpc_port)}

    def close(self) -> None:
        """End the servers that the page has left."""
        workbench = open_workbench(self.home)
        for record in workbench.servers.list():
            workbench.servers.stop(record.id, timeout_s=DEADLINE_S)
        workbench.close()
