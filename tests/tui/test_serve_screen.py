"""The Serve screen over a double: states, forms, requests, log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from doubles import sample_world
from doubles_serving import gone, make_server, make_snapshot
from driving import stage
from textual.widgets import Input

from quickserveml_tui.core.errors import NotPermittedError, UnavailableError, UsageError
from quickserveml_tui.tui.panes.request import RequestEditor
from quickserveml_tui.tui.panes.server_log import MAX_LINES
from quickserveml_tui.tui.screens.start_server import plan_of
from quickserveml_tui.tui.serving.examples import MAX_EDITED, lay_out
from quickserveml_tui.tui.serving.requests import MAX_ROWS, Target, answer_rows, certificate_of, curl_line, targets_of

SIZE = (120, 40)
FORM = {
    "models": "a b",
    "port": "",
    "workers": "1",
    "threads": "1",
    "delay": "0",
    "grpc": "",
    "log": "",
    "auth": "auto",
}


def world_with(*servers):
    world = sample_world()
    world.servers.running = list(servers)
    return world


async def opened(on):
    await on.press("N")
    await on.until(lambda: on.app.front is not on.bench and on.app.front.is_mounted, "the screen")
    return on.app.front


async def asked(on):
    screen = await opened(on)
    await on.until(lambda: screen.request_pane.example, "an example")
    return screen


async def test_without_a_server_the_screen_says_what_starts_one_and_esc_goes_back() -> None:
    async with stage(sample_world()) as on:
        await opened(on)
        await on.shows("No server of this home runs", "n starts one for the marked models, or for all")
        await on.press("D")
        await on.shows("No server is under the cursor")
        await on.press("escape")
        await on.until(lambda: on.app.front is on.bench, "the workbench")


async def test_a_server_is_started_for_the_model_under_the_cursor_and_outlives_the_workbench() -> None:
    world = sample_world()
    async with stage(world, open_ref="digits@2") as on:
        await opened(on)
        await on.press("n")
        await on.until(lambda: on.app.screen.query("#form-command"), "the form")
        await on.shows("command     quickserveml serve digits@2")
        on.app.screen.query_one("#field-workers", Input).value = "3"
        await on.shows("quickserveml serve digits@2 --workers 3")
        await on.press("enter")
        await on.shows("127.0.0.1:8000", "Serving 1 model, also after you quit")
        assert world.servers.started[0].refs == ("digits@2",)
        assert world.servers.started[0].options == (("workers", "3"),)
        words = str(on.app.farewell())
        assert "A server goes on: http://127.0.0.1:8000 (process 4001)." in words


async def test_what_the_server_said_against_its_start_stands_in_the_form() -> None:
    world = sample_world()
    world.servers.refusal = UnavailableError("Port 8000 is taken.", hint="Choose another.", code="server.port")
    async with stage(world, SIZE) as on:
        await opened(on)
        await on.press("n", "enter")
        await on.shows("Port 8000 is taken. Choose another.")
        assert not world.servers.running


async def test_cancel_ends_a_start_and_the_form_stays() -> None:
    world = sample_world()
    world.servers.starting.clear()
    async with stage(world, SIZE) as on:
        await opened(on)
        await on.press("n", "enter")
        await on.shows("starting: models are loaded and checked")
        await on.press("escape")
        await on.shows("cancelled; nothing was kept")
        assert not world.servers.running


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("port", "99999", "The port"),
        ("port", "-1", "The port"),
        ("workers", "0", "Workers"),
        ("threads", "x", "Threads"),
        ("delay", "soon", "no duration"),
        ("delay", "1h", "at most 10 s"),
        ("grpc", "1.5", "gRPC port"),
    ],
)
def test_a_wrong_setting_is_named(field: str, value: str, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        plan_of({**FORM, field: value})
    assert words in raised.value.message


def test_settings_become_options_of_the_command_and_defaults_are_left_out() -> None:
    plan = plan_of({**FORM, "port": "0", "delay": "2ms", "grpc": "9000", "log": "a.log", "auth": "keys"})
    assert plan.refs == ("a", "b")
    assert dict(plan.options) == {
        "port": "0", "max-delay-us": "2000", "grpc-port": "9000", "access-log": "a.log", "auth": "keys",
    }  # fmt: skip
    assert plan_of({**FORM, "models": " "}).every
    assert plan_of({**FORM, "models": "all"}).every


async def test_stopping_asks_and_says_what_is_under_way() -> None:
    world = world_with(make_server(1))
    async with stage(world, SIZE) as on:
        await asked(on)
        await on.press("D")
        await on.shows("Stop this server?", "1 request under way: it is finished first")
        await on.press("escape")
        assert world.servers.running
        await on.press("D")
        await on.shows("Stop this server?")
        await on.press("y")
        await on.shows("has stopped", "No server of this home runs")
        assert world.servers.stopped == ["server-1"]


async def test_an_example_is_edited_and_sent_and_the_answer_shown_beside_its_time() -> None:
    world = world_with(make_server(1))
    async with stage(world, SIZE) as on:
        screen = await asked(on)
        await on.shows("POST /v2/models/digits/infer", '"datatype": "FP32"')
        await on.press("e")
        await on.until(lambda: isinstance(on.app.focused, RequestEditor), "the editor")
        on.app.focused.load_text('{"inputs": []}')
        await on.press("f5")
        await on.shows("✓ 200", "1.25 ms", '"model_name": "digits"')
        assert world.remote.sent == [("http://127.0.0.1:8000", "/v2/models/digits/infer", b'{"inputs": []}', "")]
        await on.press("escape", "right_square_bracket")
        await on.shows("POST /v2/models/digits/versions/2/infer")
        assert "200" not in on.line("Answer"), "an answer belongs to the model that was asked"
        await on.press("o", *"x[/]")
        await on.press("enter")
        await on.shows("POST /v2/models/x%5B%2F%5Dy/infer", "x[/]y")
        assert screen.request_pane.target == Target("x[/]y")


async def test_a_request_that_is_too_long_to_edit_is_shown_in_outline_and_sent_whole() -> None:
    world = world_with(make_server(1))
    values = [number / 8 for number in range(60_000)]
    whole = json.dumps({"inputs": [{"name": "image", "datatype": "FP32", "shape": [2, 30_000],
                                    "data": [values[:30_000], values[30_000:]]}]})  # fmt: skip
    assert len(whole) > MAX_EDITED
    world.remote.example = lambda *_args, **_options: whole
    async with stage(world, SIZE) as on:
        await asked(on)
        await on.shows('"data": [0.0, 0.125, 0.25, …]  60,000 values', "f5 sends it whole")
        await on.press("e")
        await on.shows("too long to be edited here")
        await on.press("2", "f5")
        await on.shows("✓ 200")
        assert json.loads(world.remote.sent[0][2]) == json.loads(whole)


async def test_a_long_sentence_of_an_answer_can_be_read_to_its_end() -> None:
    world = world_with(make_server(1))
    sentence = " ".join(f"word{number}" for number in range(40))
    world.remote.answer = (400, json.dumps({"error": sentence}), 0.5)
    async with stage(world, SIZE) as on:
        await asked(on)
        await on.press("2", "f5")
        await on.shows("✕ 400", "word0", "word39")


def test_an_example_is_wrapped_to_its_editor_and_stays_the_same_request() -> None:
    text = json.dumps({"inputs": [{"name": "é", "shape": [1, 64], "data": [[number / 7 for number in range(64)]]}]})
    example = lay_out(text, 60)
    assert not example.outline
    assert max(map(len, example.shown.splitlines())) <= 60
    assert json.loads(example.body) == json.loads(text)
    assert lay_out("no JSON", 60).shown == "no JSON"


async def test_refusals_of_the_server_are_shown_as_they_are() -> None:
    world = world_with(make_server(1))
    world.remote.answer = (400, json.dumps({"error": "input [bold]x[/] \x1b[31mis missing"}), 0.5)
    async with stage(world, SIZE) as on:
        await asked(on)
        await on.press("2", "f5")
        await on.shows("✕ 400", "input [bold]x[/]")
        world.remote.answer = gone()
        await on.press("f5")
        await on.shows("no answer", "The server does not answer.", "Check that it runs.")


async def test_the_loop_goes_on_while_a_request_is_under_way() -> None:
    world = world_with(make_server(1))
    world.remote.answering.clear()
    async with stage(world, SIZE) as on:
        await asked(on)
        await on.press("2", "f5")
        await on.shows("sending…")
        await on.press("f5")
        await on.shows("A request is under way already")
        world.remote.answering.set()
        await on.shows("✓ 200")
        assert len(world.remote.sent) == 1


async def test_a_server_with_keys_says_so_and_the_key_is_neither_shown_nor_kept(tmp_path: Path) -> None:
    world = world_with(make_server(1, auth="keys"))
    world.remote.refusal = NotPermittedError("The server asks for a key.", hint="", code="server.refused")
    async with stage(world, home=str(tmp_path)) as on:
        await opened(on)
        await on.shows("The server asks for a key.", "K enters its key")
        await on.press("K")
        await on.until(lambda: on.app.screen.query("#field-key"), "the form")
        await on.press(*"qsml_secret")
        assert "qsml_secret" not in on.text()
        world.remote.refusal = None
        await on.press("enter")
        await on.until(lambda: on.app.front.request_pane.example, "the example")
        await on.press("2", "f5")
        await on.shows("✓ 200")
        assert world.remote.sent[0][3] == "qsml_secret"
        on.app.memory.save(tmp_path)
        assert "qsml_secret" not in (tmp_path / "ui.json").read_text()


async def test_the_log_is_followed_filtered_and_bounded() -> None:
    world = world_with(make_server(1))
    line = json.dumps({"time": "2024-05-01T10:00:00Z", "level": "warning", "message": "queue [/] \x1b[31mlong", "n": 7})
    world.servers.logs["server-1"] = "".join(f"line {number}\n" for number in range(40)) + line + "\nopen"
    async with stage(world, SIZE) as on:
        screen = await asked(on)
        await on.until(lambda: len(screen.log_pane.lines) == 41, "the lines")
        await on.shows("!  queue [/]", "n 7")
        await on.press("3", "slash", *"line 39")
        await on.until(lambda: screen.log_pane.query_one("#log-lines").row_count == 1, "one line")
        await on.press("escape")
        screen.log_pane.add("\n".join(f"more {number}" for number in range(MAX_LINES + 500)) + "\n")
        assert len(screen.log_pane.lines) == MAX_LINES
        await on.shows("older left out", f"more {MAX_LINES + 499}")
        await on.press("k", "k")
        assert not screen.log_pane.following
        screen.log_pane.add("the newest\n")
        assert screen.log_pane.line == f"more {MAX_LINES + 497}", "the cursor stays while more is written"


async def test_esc_in_the_log_first_shows_all_lines_and_then_goes_back() -> None:
    world = world_with(make_server(1))
    world.servers.logs["server-1"] = "one\ntwo\nthree\n"
    async with stage(world, SIZE) as on:
        screen = await asked(on)
        lines = screen.log_pane.query_one("#log-lines")
        await on.until(lambda: len(screen.log_pane.lines) == 3, "the lines")
        await on.press("3", "slash", *"tw", "enter")
        await on.until(lambda: lines.has_focus and lines.row_count == 1, "one line")
        await on.press("escape")
        await on.until(lambda: lines.row_count == 3, "all lines")
        assert on.app.front is screen
        await on.press("escape")
        await on.until(lambda: on.app.front is on.bench, "the workbench")


async def test_a_server_in_a_terminal_has_no_log_here_and_says_what_keeps_one() -> None:
    async with stage(world_with(make_server(1, log_path="")), SIZE) as on:
        await asked(on)
        await on.press("3")
        await on.shows("It runs in a terminal, which shows its log.")
        for key in ("f", "slash"):
            await on.press(key)
            await on.shows("There is no line of a log to go through.")
            await on.press("1", "3")


async def test_what_is_served_is_what_the_server_says_now_and_the_request_stays() -> None:
    world = world_with(make_server(1))
    world.monitor.newest = make_snapshot(1, names=("digits",))
    async with stage(world, SIZE) as on:
        screen = await asked(on)
        await on.shows("digits@1")
        screen.request_pane.query_one(RequestEditor).load_text("{}")
        world.monitor.newest = make_snapshot(2, names=("digits", "late"))
        world.remote.served = (*world.remote.served, {"name": "late", "versions": ["2"]})
        screen.look()
        await on.shows("digits@1, late@2", "1 of 5")
        assert screen.request_pane.body == "{}"
        world.remote.served = ({"name": "late", "versions": ["2"]},)
        world.monitor.newest = make_snapshot(3, names=("late",))
        screen.look()
        await on.shows("POST /v2/models/late/infer")


async def test_why_a_server_does_not_answer_stands_with_it() -> None:
    world = world_with(make_server(1))
    world.monitor.down = world.remote.refusal = gone()
    async with stage(world, SIZE) as on:
        await opened(on)
        await on.shows("✕ no answer", "problem", "Check that it runs.")


async def test_the_footer_offers_no_key_that_the_text_takes() -> None:
    async with stage(world_with(make_server(1)), SIZE) as on:
        screen = await asked(on)
        await on.press("e")
        await on.until(lambda: isinstance(screen.focused, RequestEditor), "the editor")
        await on.shows("esc done", "f5 send")
        assert "enter edit" not in on.text()
        await on.press("escape")
        await on.shows("e edit", "m monitor")
        assert on.app.front is screen


async def test_nothing_is_asked_while_another_screen_is_shown() -> None:
    world = world_with(make_server(1))
    async with stage(world, SIZE) as on:
        screen = await asked(on)
        await on.press("f2")
        await on.until(lambda: on.app.front is on.bench, "the workbench")
        await on.pilot.pause()
        assert not screen._timer._active.is_set()
        await on.press("f3")
        await on.until(screen._timer._active.is_set, "the timer")


async def test_ascii_and_a_small_screen_hold_all_panes() -> None:
    world = world_with(make_server(1, "x[/]y@1"))
    async with stage(world, (80, 24), ascii=True) as on:
        await asked(on)
        for key, word in (("2", "POST"), ("3", "Log"), ("1", "127.0.0.1:8000")):
            await on.press(key)
            await on.shows(word)
        assert not {char for char in on.text() if ord(char) > 126 and char != "\n"}


def test_a_big_answer_is_bounded_and_long_lists_stand_side_by_side() -> None:
    rows = answer_rows(json.dumps({"data": list(range(100_000))}), 60)
    assert len(rows) == MAX_ROWS + 1
    assert "the answer goes on" in rows[-1][0].text
    assert all(sum(len(span.text) for span in row) <= 60 for row in rows[:-1])
    deep = "[" * 100_000 + "]" * 100_000
    assert answer_rows(deep)


def test_curl_names_the_key_and_never_holds_it() -> None:
    line = curl_line("http://h:1/", Target("a b'c", "2"), '{"x": [1, 2]}', with_key=True)
    assert line.startswith("curl -s http://h:1/v2/models/a%20b%27c/versions/2/infer ")
    assert '"Authorization: Bearer $QSML_API_KEY"' in line
    assert "'{\"x\":[1,2]}'" in line


def test_curl_trusts_the_certificate_that_the_server_was_started_with() -> None:
    command = "quickserveml serve a --tls-cert 'my certs/c.pem' --tls-key k.pem"
    assert certificate_of(command) == certificate_of("serve '--tls-cert=my certs/c.pem'") == "my certs/c.pem"
    assert certificate_of("serve a") == certificate_of("serve 'a") == certificate_of("serve --tls-cert") == ""
    line = curl_line("https://h:1", Target("a"), "{}", certificate=certificate_of(command))
    assert line.startswith("curl -s https://h:1/v2/models/a/infer --cacert 'my certs/c.pem' -H ")
    assert "--cacert" not in curl_line("http://h:1", Target("a"), "{}", certificate="c.pem")


def test_odd_metadata_gives_no_target() -> None:
    assert targets_of([{}, {"name": 3}, {"name": ""}, {"name": "m", "versions": "12"}]) == [Target("m")]


async def test_esc_in_the_open_filter_of_the_log_shows_all_lines_and_stays() -> None:
    world = world_with(make_server(1))
    world.servers.logs["server-1"] = "one\ntwo\nthree\n"
    async with stage(world, SIZE) as on:
        screen = await asked(on)
        lines = screen.log_pane.query_one("#log-lines")
        await on.until(lambda: len(screen.log_pane.lines) == 3, "the lines")
        await on.press("3", "slash", *"tw", "escape")
        await on.until(lambda: lines.row_count == 3 and lines.has_focus, "all lines")
        assert on.app.front is screen
