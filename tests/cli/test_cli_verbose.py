"""--verbose: the whole text behind an error is one step away, for every command."""

import pytest
from cli_harness import Cli, check, save_model, save_unrunnable


@pytest.fixture
def broken(cli, tmp_path):
    """A registered version that cannot run."""
    assert cli("add", str(save_unrunnable(tmp_path / "broken.onnx")), "--name", "broken").code == 0
    return "broken"


def test_an_error_in_text_is_followed_by_the_runtimes_words(cli, tmp_path):
    path = str(save_unrunnable(tmp_path / "m.onnx"))
    short, long = cli("predict", path), cli("predict", path, "--verbose")
    assert short.code == long.code == 3
    assert "The operator NoSuchOperator is unknown to onnxruntime" in short.err
    assert "No Op registered" not in short.err
    assert "No Op registered for NoSuchOperator" in long.err
    assert long.err.startswith(short.err)


def test_an_error_in_json_has_the_detail_only_when_it_is_asked_for(cli, tmp_path):
    path = str(save_unrunnable(tmp_path / "m.onnx"))
    plain, verbose = cli("predict", path, "--json"), cli("predict", path, "--json", "--verbose")
    assert "detail" not in plain.error
    assert "No Op registered for NoSuchOperator" in verbose.error["detail"]
    assert str(tmp_path) not in verbose.out


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_verbose_is_taken_before_and_after_the_command(cli, broken, before):
    words = ["--verbose", "benchmark", broken] if before else ["benchmark", broken, "--verbose"]
    assert "No Op registered" in cli(*words).err


@pytest.mark.parametrize(
    "command", ["predict", "benchmark", "schema", "job show", "config get", "restore", "golden list"]
)
def test_every_command_takes_verbose_and_says_so_when_there_is_nothing_more(cli, command):
    result = cli(*command.split(), "nothing-of-the-kind", "--verbose", "--json")
    assert result.code != 0
    check(result.document, "error")
    assert "detail" in result.document["error"]


def test_help_lists_verbose_and_a_name_after_two_dashes_is_no_option(cli):
    assert "--verbose" in cli("predict", "--help").out
    assert "--verbose" in cli("job", "list", "--help").out
    assert "detail" not in cli("show", "--json", "--", "--verbose").error


def test_a_failed_file_among_several_has_its_detail(cli, tmp_path):
    good, bad = save_model(tmp_path / "good.onnx"), tmp_path / "bad.onnx"
    bad.write_bytes(b"\x08\x08junk")
    document = cli("add", str(good), str(bad), "--json", "--verbose").document
    check(document, "add")
    assert "detail" in document["failed"][0]["error"]


def test_the_harness_is_clean_between_commands(cli):
    cli("list", "--verbose")
    assert "detail" not in cli("show", "nothing", "--json").error
    assert isinstance(cli, Cli)


def test_the_detail_of_a_trial_is_shown_on_demand(cli, broken, tmp_path):
    words = "INVALID_GRAPH"
    assert words not in cli("show", broken).out
    shown = cli("show", f"{broken}@1", "--trial").out
    assert words in shown
    assert "model.unknown_operator" in shown
    assert words in cli.json("show", "show", broken)["trial"]["detail"]
    assert words not in cli("inspect", broken).out
    assert words in cli("inspect", broken, "--verbose").out
    path = str(save_unrunnable(tmp_path / "again.onnx"))
    assert words in cli("add", path, "--name", "again", "--verbose").err
    assert str(tmp_path) not in shown


def test_the_trial_of_a_version_that_runs_is_shown_with_its_times(cli, tmp_path):
    cli("add", str(save_model(tmp_path / "good.onnx")), "--name", "good")
    shown = cli("show", "good", "--trial").out
    assert "ready" in shown
    assert " ms" in shown
