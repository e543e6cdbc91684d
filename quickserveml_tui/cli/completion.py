"""`completion`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text

# The programs answer by themselves when a shell sets `_PROGRAM_COMPLETE`: Typer's protocol.
_BASH = """_{program}_completion() {{
    local IFS=$'\\n'
    COMPREPLY=( $( env COMP_WORDS="${{COMP_WORDS[*]}}" COMP_CWORD=$COMP_CWORD {variable}=complete_bash $1 ) )
    return 0
}}
complete -o default -F _{program}_completion {program}
"""
_ZSH = """_{program}_completion() {{
  eval $(env _TYPER_COMPLETE_ARGS="${{words[1,$CURRENT]}}" {variable}=complete_zsh {program})
}}
compdef _{program}_completion {program}
"""
_FISH = (
    "complete --command {program} --no-files --arguments "
    '"(env {variable}=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args '
    '_TYPER_COMPLETE_ARGS=(commandline -cp) {program})" --condition '
    '"env {variable}=complete_fish _TYPER_COMPLETE_FISH_ACTION=is-args '
    '_TYPER_COMPLETE_ARGS=(commandline -cp) {program}"\n'
)
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
_PROGRAMS = ("quickserveml", "qsml")


def completion(
    shell: Annotated[
        str, Argument(metavar="[SHELL]", help="bash, zsh or fish; that of $SHELL by default.", show_default=False)
    ] = "",
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Print the completion script of a shell.

    For bash: eval "$(quickserveml completion bash)" in ~/.bashrc; for zsh the same in ~/.zshrc after compinit; for
    fish: quickserveml completion fish > ~/.config/fish/completions/quickserveml.fish.
    """
    output = invocation.note(home=home, as_json=as_json).output
    script = script_for(shell or _own_shell())
    if output.as_json:
        output.document({"shell": shell or _own_shell(), "script": script})
    else:
        output.raw(script)


def _own_shell() -> str:
    import os
    from pathlib import PurePath

    return PurePath(os.environ.get("SHELL", "bash")).name


def script_for(shell: str) -> str:
    """The script of a shell, for both names of the program. Raises `UsageError` for an unknown shell."""
    from quickserveml_tui.cli.commands import completion_variable

    if shell not in _SCRIPTS:
        raise UsageError(
            f"There is no completion for “{safe_text(shell, 40)}”.", hint=f"Shells: {', '.join(_SCRIPTS)}."
        )
    head = "#compdef quickserveml qsml\n" if shell == "zsh" else ""
    template = _SCRIPTS[shell]
    return head + "".join(
        template.format(program=program, variable=completion_variable(program)) for program in _PROGRAMS
    )
