"""The console script: answers `--version` at once and hands everything else to the commands."""

import sys

from quickserveml_tui._version import __version__


def main() -> None:
    """Run the command line of this process and exit with its code."""
    arguments = sys.argv[1:]
    # Anything more than these two imports would cost more than the answer.
    if arguments in (["--version"], ["-V"]):
        try:
            sys.stdout.write(f"quickserveml {__version__}\n")
            sys.stdout.flush()
            return
        except (OSError, AttributeError):  # a full disk, a closed stdout: what follows can say so
            pass
    from quickserveml_tui.cli.diagnostics import run

    sys.exit(run(arguments))
