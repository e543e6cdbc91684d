"""Keys of the workbench's screen; those of a pane, a dialog or a field stand with it."""

from __future__ import annotations

from textual.binding import BindingType

from quickserveml_tui.tui.keys import bind

KEYS: list[BindingType] = [
    bind("b", "run_benchmark", "benchmark", "benchmark.run_model", "Measure the version under the cursor"),
    bind(
        "x",
        "cancel_job",
        "cancel",
        "jobs.cancel_job",
        "Cancel the running job, or the one under the cursor; what it has is kept",
    ),
    bind("r", "run_data", "run data", "batch.run_data", "Run a data set through the version under the cursor"),
    bind(
        "B",
        "edit_settings",
        "settings",
        "benchmark.edit_settings",
        "Change duration, warm-up, threads, batch and optimisation",
    ),
    bind("a", "add_model", "add", "catalog.add_model", "Add a model file by its path"),
    bind("S", "scan_folder", "scan", "catalog.scan_folder", "Look for model files below a folder"),
    bind(
        "o",
        "open_reference",
        "open",
        "catalog.open_reference",
        "Show a version or a file by its reference",
        show=False,
    ),
    bind("d", "install_demo", "demo", "catalog.open_demo", "Register the demo models", show=False),
    bind(
        "left_square_bracket",
        "step_tab(-1)",
        "tab before",
        "inspector.previous_tab",
        "Show the tab at the left",
        show=False,
    ),
    bind(
        "right_square_bracket",
        "step_tab(1)",
        "next tab",
        "inspector.next_tab",
        "Show the tab at the right",
        display="[ ]",
    ),
    bind(
        "z",
        "maximise_pane",
        "maximise",
        "view.maximise_pane",
        "Give the focused pane the whole screen, or give it back",
    ),
    bind(
        "y",
        "copy_reference",
        "copy",
        "edit.copy_reference",
        "Copy the reference, or the command that reproduces the result",
        show=False,
    ),
    bind(
        "Y",
        "copy_view",
        "copy table",
        "edit.copy_view",
        "Copy the table or the figures of the focused pane",
        show=False,
    ),
    bind("T", "edit_tags", "tags", "catalog.edit_tags", "Change the tags of the model", show=False),
    bind(
        "A",
        "set_alias",
        "alias",
        "catalog.set_alias",
        "Point an alias at the version, or take one away",
        show=False,
    ),
    bind("e", "edit_state", "state", "catalog.edit_state", "Change state and notes of the version", show=False),
    bind(
        "D,delete",
        "delete_version",
        "delete",
        "catalog.delete_version",
        "Delete the version under the cursor, after asking",
        show=False,
    ),
    bind("ctrl+r", "reload", "reload", "catalog.read_again", "Read the registry again", show=False),
    bind("1", "focus_pane(1)", "catalog", "view.go_to_catalog", "Go to the catalog", show=False),
    bind("2", "focus_pane(2)", "inspector", "view.go_to_inspector", "Go to the inspector", show=False),
    bind("3", "focus_pane(3)", "benchmark", "view.go_to_benchmark", "Go to the benchmark", show=False),
    bind("4", "focus_pane(4)", "jobs", "view.go_to_jobs", "Go to batch and jobs", show=False),
    bind("tab", "step_pane(1)", "next pane", "view.next_pane", "Go to the next pane", show=False),
    bind("shift+tab", "step_pane(-1)", "pane before", "view.previous_pane", "Go to the pane before", show=False),
    bind("escape", "leave_view", "back", "view.leave_maximised", "Give a maximised pane's room back", show=False),
]
