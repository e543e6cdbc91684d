"""The table of commands: what help lists and where each one lives."""

from __future__ import annotations

from typing import NamedTuple


class CommandEntry(NamedTuple):
    """One command."""

    name: str
    module: str
    attribute: str
    """A function, or a `typer.Typer` with commands of its own."""
    summary: str
    hidden: bool = False
    """Whether help leaves it out: the original's names."""


_HERE = "quickserveml_tui.cli"

SECTIONS: dict[str, tuple[str, ...]] = {
    "Start": ("demo", "open"),
    "Catalog": (
        "add",
        "list",
        "show",
        "update",
        "tag",
        "categorise",
        "alias",
        "promote",
        "delete",
        "restore",
        "trash",
        "purge",
    ),
    "Understand": ("inspect", "schema", "predict", "trial", "feed"),
    "Measure and check": ("benchmark", "compare", "batch", "golden", "verify", "job"),
    "Serve": ("serve", "servers", "monitor", "keys"),
    "Keep": ("convert", "export", "import", "backup", "restore-backup", "gc", "fsck"),
    "Machine": ("doctor", "config", "completion"),
}
"""Headings of help, each with its commands."""

_ENTRIES = (
    CommandEntry("demo", f"{_HERE}.demo", "demo", "Open the workbench on demo models, or print a tour of them."),
    CommandEntry("open", f"{_HERE}.workbench", "open_command", "Open the workbench on your own catalog."),
    CommandEntry("add", f"{_HERE}.catalog", "add", "Add model files to the catalog."),
    CommandEntry("list", f"{_HERE}.catalog", "list_command", "List the models of the catalog."),
    CommandEntry("show", f"{_HERE}.catalog", "show", "Show a model or a version of it."),
    CommandEntry("update", f"{_HERE}.catalog_changes", "update", "Change metadata of a model or version."),
    CommandEntry("tag", f"{_HERE}.catalog_changes", "tag", "Add tags to a model, or take them away."),
    CommandEntry(
        "categorise", f"{_HERE}.catalog_changes", "categorise", "Put a model into categories, or take it out."
    ),
    CommandEntry("alias", f"{_HERE}.aliases", "alias", "Point an alias at a version, or take it away."),
    CommandEntry(
        "promote", f"{_HERE}.aliases", "promote", "Point an alias at a version that passes its golden outputs."
    ),
    CommandEntry("delete", f"{_HERE}.catalog_changes", "delete", "Move versions or whole models to the trash."),
    CommandEntry("restore", f"{_HERE}.trash", "restore", "Bring deleted models or versions back."),
    CommandEntry("trash", f"{_HERE}.trash", "trash", "List what was deleted and can be restored."),
    CommandEntry("purge", f"{_HERE}.trash", "purge", "Forget what is in the trash for good."),
    CommandEntry("inspect", f"{_HERE}.inspect", "inspect", "Say what a model is: inputs, outputs, size, cost, layers."),
    CommandEntry("schema", f"{_HERE}.inspect", "schema", "Print the JSON Schema of a model's request and response."),
    CommandEntry("trial", f"{_HERE}.trial", "trial", "Try versions again, in a process of their own."),
    CommandEntry("feed", f"{_HERE}.trial", "feed", "Show or keep what a version's synthetic inputs are made by."),
    CommandEntry("predict", f"{_HERE}.predict", "predict", "Run one inference on given or synthetic inputs."),
    CommandEntry(
        "benchmark", f"{_HERE}.benchmark", "benchmark", "Measure latency, throughput, CPU and memory of a model."
    ),
    CommandEntry(
        "compare", f"{_HERE}.compare", "compare", "Say whether models or settings are faster, slower or equal."
    ),
    CommandEntry("batch", f"{_HERE}.batch", "batch", "Run a data set through a model and measure its accuracy."),
    CommandEntry("golden", f"{_HERE}.golden", "application", "Keep inputs with the outputs that a version must give."),
    CommandEntry("verify", f"{_HERE}.golden", "verify", "Run the golden outputs of versions again."),
    CommandEntry("job", f"{_HERE}.jobs", "application", "Run, follow and stop jobs in the background."),
    CommandEntry("serve", f"{_HERE}.serve", "serve", "Serve models over HTTP by the Open Inference Protocol."),
    CommandEntry(
        "servers",
        f"{_HERE}.servers",
        "application",
        "List and stop the servers of this home, and read their logs.",
    ),
    CommandEntry("monitor", f"{_HERE}.monitor", "monitor", "Watch a server: rates, latency, errors, CPU, per model."),
    CommandEntry(
        "keys", f"{_HERE}.keys", "application", "Make, rotate and revoke the API keys of this home's servers."
    ),
    CommandEntry("convert", f"{_HERE}.convert", "convert", "Convert a model to another opset or IR version."),
    CommandEntry("export", f"{_HERE}.bundles", "export", "Write a version to a file, with all that belongs to it."),
    CommandEntry("import", f"{_HERE}.bundles", "import_command", "Add what a bundle holds as the next version."),
    CommandEntry("backup", f"{_HERE}.backups", "backup", "Keep the whole home as a generation in another folder."),
    CommandEntry("restore-backup", f"{_HERE}.backups", "restore_backup", "Bring the home back to a kept generation."),
    CommandEntry("gc", f"{_HERE}.collect", "gc", "Remove what nothing needs: files, uploads, old trash, cache."),
    CommandEntry("fsck", f"{_HERE}.fsck", "fsck", "Check the stores of the home, and mend them."),
    CommandEntry("doctor", f"{_HERE}.doctor", "doctor", "Check machine, stores, runtime and terminal."),
    CommandEntry("config", f"{_HERE}.config", "application", "Show and change settings."),
    CommandEntry("completion", f"{_HERE}.completion", "completion", "Print the completion script of a shell."),
)

_ORIGINAL_NAMES = {
    "registry-add": "add",
    "registry-list": "list",
    "registry-get": "show",
    "registry-update": "update",
    "registry-compare": "compare",
    "registry-export": "export",
    "benchmark-registry": "benchmark",
    "serve-registry": "serve",
    "deploy": "serve",
    "categorize": "categorise",
}

COMMANDS: dict[str, CommandEntry] = {entry.name: entry for entry in _ENTRIES}
"""Commands by name, the hidden ones last."""

COMMANDS |= {name: COMMANDS[target]._replace(name=name, hidden=True) for name, target in _ORIGINAL_NAMES.items()}


def completion_variable(program: str) -> str:
    """Name of the environment variable by which a shell asks for completions."""
    return f"_{program}_COMPLETE".replace("-", "_").upper()
