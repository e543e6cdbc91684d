"""What enter takes, how many messages there are, and where they stand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from doubles import World, make_model, sample_world
from driving import Stage, stage
from textual import events
from textual.widgets._toast import Toast

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.catalog import ModelView
from quickserveml_tui.core.errors import QuickServeError
from quickserveml_tui.core.models import GoldenOutput
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.tui.glyphs import UNICODE
from quickserveml_tui.tui.keys import show_key
from quickserveml_tui.tui.panes.catalog_rows import fitting_columns, table_row, visible_rows
from quickserveml_tui.tui.screens.actions import Palette
from quickserveml_tui.tui.screens.alias import move_notes
from quickserveml_tui.tui.screens.forms import FormDialog
from quickserveml_tui.tui.screens.outputs import OutputsDialog
from quickserveml_tui.tui.widgets.table_cells import Cell

CHARACTERS = {"enter": "\r", "backspace": "\b", "space": " "}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return sample_world(tmp_path)


def send(on: Stage, *keys: str) -> None:
    """Put keys into the app's queue at once, as a terminal delivers what is typed fast."""
    for key in keys:
        on.app.post_message(events.Key(key, key if len(key) == 1 else CHARACTERS[key]))


async def test_enter_takes_the_value_of_that_moment(world: World) -> None:
    taken: list[dict[str, str] | None] = []
    async with stage(world) as on:
        from quickserveml_tui.tui.screens.forms import Field

        on.app.push_screen(FormDialog("Form", [Field("one", "one"), Field("two", "two")]), taken.append)
        await on.until(lambda: isinstance(on.app.screen, FormDialog), "the form")
        await on.pilot.pause()
        send(on, "a", "x", "backspace")
        await on.pilot.pause()
        send(on, "enter", "O", "D", "enter")
        await on.until(lambda: taken, "the values")
        assert taken == [{"one": "a", "two": ""}]


async def test_a_form_that_was_refused_can_be_typed_into_again(world: World) -> None:
    async with stage(world) as on:
        await on.press("a")
        await on.until(lambda: isinstance(on.app.screen, FormDialog), "the form")
        send(on, "g", "enter", "z")
        await on.shows("There is no file “g”")
        await on.press("o")
        assert on.app.screen.values["path"] == "go"


def toasts(on: Stage) -> list[str]:
    return [toast._notification.message for toast in on.app.screen.query(Toast) if toast.visible]


async def test_many_failures_make_one_message_with_counts_and_every_reason_a_key_away(world, tmp_path) -> None:
    for number in range(5):
        (tmp_path / f"bad-{number}.txt").write_text("no model")
    async with stage(world, notifications=True) as on:
        on.bench.add_files([str(tmp_path / f"bad-{number}.txt") for number in range(5)])
        await on.shows("0 added, 5 rejected.")
        await on.until(lambda: toasts(on), "the message")
        assert len(toasts(on)) == 1
        await on.press("down")
        await on.settled()
        await on.press("w")
        await on.shows("bad-0.txt", "bad-4.txt", "is not an ONNX model")


async def test_messages_are_said_once_wait_for_dialogs_and_go_by_esc(world: World) -> None:
    wrong = QuickServeError("The disk is full.", hint="Make room.")
    async with stage(world, notifications=True) as on:
        for _ in range(3):
            on.bench.tell_error(wrong)
            await on.pilot.pause()
        await on.until(lambda: toasts(on), "the message")
        assert len(toasts(on)) == 1
        await on.press("a")
        await on.until(lambda: isinstance(on.app.screen, FormDialog), "the form")
        on.bench.tell_error(QuickServeError("Another thing."))
        await on.pilot.pause()
        assert toasts(on) == []
        await on.press("escape")
        await on.until(lambda: len(toasts(on)) == 2, "both messages")
        await on.press("escape")
        await on.until(lambda: not toasts(on), "no message")


async def test_the_outputs_say_what_they_come_from(world: World, monkeypatch) -> None:
    fed = {"image": np.zeros((1, 1, 8, 8), np.float32), "sr": np.array([16000]), "steps": [np.zeros(3)]}
    predict = world.predict.predict

    def with_inputs(*args, keep_inputs=False, **options):
        return replace(predict(*args, **options), inputs=fed if keep_inputs else {})

    monkeypatch.setattr(world.predict, "predict", with_inputs)
    async with stage(world, (80, 24)) as on:
        await on.press("p")
        await on.until(lambda: isinstance(on.app.screen, OutputsDialog), "the outputs")
        await on.shows("on made-up inputs:", "image", "1×1×8×8, sr = 16000", "steps sequence of 1.")
        assert on.app.screen.fed == "image 1×1×8×8, sr = 16000, steps sequence of 1"
        assert not on.app.screen.prediction.inputs


def test_names_come_before_aliases_where_there_is_little_room() -> None:
    rows = [{"name": Cell("a" * 24, suffix=" @1"), "alias": Cell("production")}]
    widths = {room: {column.key: column.width for column in fitting_columns(rows, room)} for room in (60, 42, 30)}
    assert widths[60]["alias"] == 10
    assert widths[42]["alias"] == 5
    assert "alias" not in widths[30]


def test_an_alias_of_an_older_version_stands_in_the_row_of_its_model_with_that_version() -> None:
    view = ModelView(make_model("digits", 3, aliases={"canary": 1, "prod": 2}))
    newest, older = visible_rows([view], {"digits"})[:2]
    assert table_row(newest, UNICODE)["alias"].value == "prod@2 +1"
    assert table_row(older, UNICODE)["alias"].value == "prod"
    view = ModelView(make_model("digits", 3, aliases={"canary": 3, "prod": 2}))
    assert table_row(visible_rows([view], set())[0], UNICODE)["alias"].value == "prod@2 +1"
    for aliases, words in (
        ({"staging": 3}, "staging"),
        ({"beta": 1}, "beta@1"),
        ({"prod": 3, "beta": 3}, "prod beta"),
        ({"zeta": 3, "beta": 1}, "zeta +1"),
        ({"staging": 3, "prod": 1, "beta": 2}, "prod@1 +2"),
    ):
        view = ModelView(make_model("digits", 3, aliases=aliases))
        assert table_row(visible_rows([view], set())[0], UNICODE)["alias"].value == words


def test_help_and_palette_write_a_star_as_people_do() -> None:
    assert show_key("asterisk") == "*"


async def test_palette_and_help_begin_with_what_the_footer_shows(world: World) -> None:
    async with stage(world) as on:
        await on.press("ctrl+p")
        await on.until(lambda: isinstance(on.app.screen, Palette) and on.app.screen.shown, "the palette")
        shown = on.app.screen.shown
        assert shown == sorted(shown, key=lambda entry: (bool(entry.reason), not entry.main, entry.command))
        assert shown[0].main
        assert not shown[0].reason


async def test_the_palette_runs_what_was_found_when_enter_was_pressed(world: World) -> None:
    async with stage(world) as on:
        await on.press("ctrl+p")
        await on.until(lambda: isinstance(on.app.screen, Palette), "the palette")
        send(on, *("space" if letter == " " else letter for letter in "edit tags"), "enter", *"quit")
        await on.until(lambda: isinstance(on.app.screen, FormDialog), "the form")
        assert on.app.screen.heading.startswith("Tags")


async def test_what_the_move_of_an_alias_changes_stands_in_the_form_before_enter(world: World) -> None:
    model = make_model("digits", 3, aliases={"prod": 2, "staging": 3})
    newest = model.versions[2]
    other = replace(newest.facts, inputs=(TensorSpec("scan", "float32", (1, 4)),))
    world.put(replace(model, versions=(*model.versions[:2], replace(newest, facts=other))))
    async with stage(world, open_ref="digits") as on:
        await on.press("A")
        await on.until(lambda: on.app.screen.query("#alias-notes"), "the form")
        await on.write("prod")
        await on.shows(
            "prod moves from digits@2 to digits@3.", "! digits@3 has other inputs or outputs", "“scan” is new"
        )
        await on.press("1")
        await on.until(lambda: not on.app.screen.query_one("#alias-notes").display, "no notes for a new alias")
        await on.press("escape")
        await on.until(lambda: on.app.screen is on.bench, "the workbench")
    assert world.models["digits"].aliases["prod"] == 2


def test_notes_on_an_alias_say_where_it_points_now() -> None:
    model = make_model("digits", 3, aliases={"prod": 2})
    assert move_notes(model, 3, "canary") == []
    assert [words for _, words in move_notes(model, 2, "prod")] == ["prod points at digits@2 already."]
    assert [words for _, words in move_notes(model, 3, "-prod")] == [
        "prod points at digits@2; digits@prod will be unknown."
    ]
    golden = GoldenOutput("default", "a" * 64, "b" * 64, "2024-05-01T10:00:00Z")
    versions = (model.versions[0], replace(model.versions[1], golden=(golden,)), model.versions[2])
    said = move_notes(replace(model, versions=versions), 3, "prod")
    assert said[0] == (Role.INFO, "prod moves from digits@2 to digits@3.")
    assert said[1][0] is Role.WARN
    assert "has no golden outputs" in said[1][1]
