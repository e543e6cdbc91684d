"""Settings: where they come from, which is stronger, and what is refused."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from quickserveml_tui.config.edit import set_value
from quickserveml_tui.config.files import MAX_FILE, project_file, user_file
from quickserveml_tui.config.keys import ENV_KEYS, KNOWN_KEYS, flatten_settings
from quickserveml_tui.config.load import json_schema, load_settings
from quickserveml_tui.config.settings import Settings
from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.predictions import BatchSpec
from quickserveml_tui.server.options import ServeOptions


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_without_sources_the_defaults_hold_and_no_validator_is_loaded(tmp_path: Path) -> None:
    loaded = load_settings(environment={}, start=tmp_path)
    assert loaded.settings == Settings()
    assert {loaded.source_of(key) for key in KNOWN_KEYS} == {"default"}
    assert loaded.home_path() == tmp_path / "data" / "quickserveml"


def test_the_stronger_source_wins_and_is_named(tmp_path: Path) -> None:
    project = write(tmp_path / "quickserveml.toml", "[serve]\nport = 2\nthreads = 2\n[batch]\nsize = 2\n")
    user = write(
        user_file(),
        '[serve]\nport = 1\nthreads = 1\nqueue_limit = 1\n[batch]\nsize = 1\ntheme = "dark"\n'.replace(
            'theme = "dark"\n', ""
        ),
    )
    loaded = load_settings(
        {"batch.size": 4}, environment={"QSML_SERVE_PORT": "3", "QSML_BATCH_SIZE": "3"}, start=tmp_path
    )
    settings = loaded.settings
    assert (settings.batch.size, settings.serve.port, settings.serve.threads, settings.serve.queue_limit) == (
        4,
        3,
        2,
        1,
    )
    assert loaded.source_of("batch.size") == "flag"
    assert loaded.source_of("serve.port") == "QSML_SERVE_PORT"
    assert loaded.source_of("serve.threads") == str(project)
    assert loaded.source_of("serve.queue_limit") == str(user)
    assert loaded.source_of("mouse") == "default"


def test_every_setting_has_an_environment_variable_and_a_description(tmp_path: Path) -> None:
    assert set(ENV_KEYS.values()) == set(KNOWN_KEYS)
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    for table in (schema, *schema["$defs"].values()):
        for name, entry in table["properties"].items():
            assert entry.get("description"), name


def test_defaults_agree_with_what_they_stand_for() -> None:
    settings = Settings()
    assert (settings.benchmark.duration_s, settings.benchmark.warmup_s) == (
        BenchmarkSpec().duration_s,
        BenchmarkSpec().warmup_s,
    )
    assert settings.benchmark.threads == BenchmarkSpec().intra_op_threads
    assert settings.batch.size == BatchSpec().batch_size
    serve, options = settings.serve, ServeOptions()
    assert (serve.host, serve.port, serve.threads, serve.queue_limit, serve.max_body_mb * 1024 * 1024) == (
        options.host, options.port, options.intra_op_threads, options.queue_limit, options.max_body_bytes,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("prot = 1", "serve.port"), ("[serve]\nprot = 1", "serve.port"),
        ("[srve]\nport = 1", "serve"), ("hom = '/x'", "home"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_an_error_with_the_nearest_spelling(tmp_path: Path, text: str, hint: str) -> None:
    path = write(tmp_path / "quickserveml.toml", text)
    with pytest.raises(UsageError, match="no setting") as caught:
        load_settings(environment={}, start=tmp_path)
    assert (caught.value.code, hint in caught.value.hint) == ("config.unknown_key", True)
    assert str(path) in caught.value.message


def test_an_unknown_variable_is_an_error_with_the_nearest_spelling(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(environment={"QSML_SERVE_PROT": "1"}, start=tmp_path)
    assert caught.value.hint == "Did you mean “QSML_SERVE_PORT”?"


@pytest.mark.parametrize(
    "text",
    [
        "[serve]\nport = 70000", "[serve]\nport = -1", '[serve]\nport = "high"',
        "[benchmark]\nthreads = 0", "theme = 'pink'",
        "mouse = 'sometimes'", "serve = 3", "[benchmark]\nduration_s = nan", "[keys]\nx = 3",
    ],
)  # fmt: skip
def test_a_value_out_of_range_names_its_key_and_file(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "quickserveml.toml", text)
    with pytest.raises(UsageError) as caught:
        load_settings(environment={}, start=tmp_path)
    assert caught.value.code in ("config.invalid", "config.unknown_key")
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    "content", [b"a = ", b"\xff\xfe", b"x" * (MAX_FILE + 1), b"\0"], ids=["cut", "utf16", "huge", "nul"]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "quickserveml.toml").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_settings(environment={}, start=tmp_path)
    assert caught.value.code == "config.unreadable"


def test_json_files_are_read_and_two_files_in_one_folder_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "quickserveml.json", '{"serve": {"port": 9}, "keys": {"benchmark.run_model": "f5"}}')
    settings = load_settings(environment={}, start=tmp_path).settings
    assert (settings.serve.port, settings.keys) == (9, {"benchmark.run_model": "f5"})
    write(tmp_path / "quickserveml.json", "[" * 100_000)
    with pytest.raises(UsageError, match="cannot be used"):
        load_settings(environment={}, start=tmp_path)
    write(tmp_path / "quickserveml.toml", "")
    with pytest.raises(UsageError) as caught:
        load_settings(environment={}, start=tmp_path)
    assert caught.value.code == "config.ambiguous_file"


def test_the_project_file_is_looked_for_up_to_the_checkouts_root_and_not_further(tmp_path: Path) -> None:
    above = write(tmp_path / "quickserveml.toml", "")
    checkout = tmp_path / "checkout"
    inner = checkout / "a" / "b"
    inner.mkdir(parents=True)
    assert project_file(inner) is None  # outside of a checkout only the folder itself counts
    subprocess.run(["git", "init", "-q", str(checkout)], check=True)
    assert project_file(inner) is None
    inside = write(checkout / "quickserveml.toml", "")
    assert project_file(inner) == inside
    assert project_file(tmp_path) == above


def test_a_relative_home_starts_at_the_files_folder(tmp_path: Path) -> None:
    write(tmp_path / "quickserveml.toml", 'home = "models"')
    assert load_settings(environment={}, start=tmp_path).home_path() == tmp_path / "models"
    assert load_settings(environment={"QSML_HOME": "/x"}, start=tmp_path).home_path() == Path("/x")


def test_setting_a_value_leaves_the_rest_of_the_file_alone() -> None:
    before = '# mine\ntheme = "dark" # why\n\n[serve]\n# the port\nport = 1\n\n[keys]\n"a.b" = "f5"\n'
    after = set_value(set_value(before, "serve.port", 2), "keys.a.b", "f6")
    assert after == before.replace("port = 1", "port = 2").replace('"f5"', '"f6"')
    added = set_value(set_value(after, "batch.size", 8), "mouse", False)
    assert tomllib.loads(added) == {
        "theme": "dark", "mouse": False, "serve": {"port": 2}, "keys": {"a.b": "f6"}, "batch": {"size": 8},
    }  # fmt: skip
    assert "# mine" in added
    assert "# the port" in added


@pytest.mark.parametrize("value", ['a"b', "a\\b", "é\u202e", "x\ny", "'''", "#"])
def test_any_text_can_be_set(value: str) -> None:
    assert tomllib.loads(set_value("", "home", value)) == {"home": value}


def test_a_file_that_cannot_be_changed_line_by_line_is_left_alone() -> None:
    for text in ("serve = { port = 1 }\n", "serve.port = 1\n", "not toml"):
        with pytest.raises(UsageError) as caught:
            set_value(text, "serve.port", 2)
        assert caught.value.code in ("config.not_editable", "config.unknown_key")


def test_the_schema_takes_what_the_loader_takes() -> None:
    validator = Draft202012Validator(json_schema())
    document = json.loads(json.dumps(flatten_settings(Settings())))
    assert document["serve.port"] == 8000
    validator.validate({"serve": {"port": 1}, "keys": {"x": "y"}})
    assert not validator.is_valid({"serve": {"prot": 1}})


def test_the_page_of_settings_names_every_setting_with_its_default() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(" `"): line for line in page.splitlines() if line.startswith("| `")}
    assert set(rows) == set(KNOWN_KEYS)
    variables = {key: name for name, key in ENV_KEYS.items()}
    for key, default in flatten_settings(Settings()).items():
        assert f"`{variables[key]}`" in rows[key]
        if default not in ("", None):
            assert f"`{json.dumps(default).strip(chr(34))}`" in rows[key]
