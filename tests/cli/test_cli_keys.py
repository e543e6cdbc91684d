"""`keys`: the text of a key is printed once, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_harness import Cli


def test_a_key_is_made_shown_rotated_and_revoked(cli: Cli) -> None:
    made = cli.json(
        "keys create", "keys", "create", "ci", "--scope", "read", "--scope", "infer", "--model", "res*",
        "--rate", "600/m", "--burst", "20", "--per-day", "1000", "--expires", "90d", "--note", "for CI",
    )  # fmt: skip
    assert made["scopes"] == ["infer", "read"]
    assert made["limit"] == {"per_second": 10.0, "burst": 20, "per_day": 1000}
    shown = cli.json("keys show", "keys", "show", "ci")
    assert "text" not in shown
    assert shown == {key: value for key, value in made.items() if key != "text"}
    rotated = cli.json("keys rotate", "keys", "rotate", "ci", "--overlap", "12h")
    assert rotated["text"] != made["text"]
    states = {item["id"]: item["state"] for item in cli.json("keys list", "keys", "list")["keys"]}
    assert states == {made["id"]: "ending", rotated["id"]: "active"}
    assert cli.json("keys revoke", "keys", "revoke", "ci")["state"] == "revoked"
    assert cli.json("keys list", "keys", "list")["total"] == 0
    assert cli.json("keys list", "keys", "list", "--all")["total"] == 2


def test_stdout_holds_the_text_alone_and_quiet_says_nothing_else(cli: Cli) -> None:
    loud, quiet = cli("keys", "create", "a"), cli("keys", "create", "b", "--quiet")
    for result in (loud, quiet):
        assert result.code == 0
        assert result.out.count("\n") == 1
        assert result.out.startswith("qsml_")
    assert loud.out.strip() not in loud.err
    assert "cannot be printed again" in loud.err
    assert quiet.err == ""


def test_the_secret_is_in_no_file_of_the_home_and_in_no_later_output(cli: Cli) -> None:
    text = cli("keys", "create", "ci", "-q").out.strip()
    secret = text.split("_")[2]
    files = [path.read_bytes() for path in cli.home.rglob("*") if path.is_file()]
    assert files
    assert not any(secret.encode() in data for data in files)
    for arguments in (("list",), ("show", "ci"), ("list", "--json"), ("show", "ci", "--json"), ("revoke", "ci")):
        result = cli("keys", *arguments)
        assert secret not in result.out + result.err
        assert "sha256" not in result.out


def test_rotation_with_no_overlap_ends_the_old_key_at_once(cli: Cli) -> None:
    first = cli.json("keys create", "keys", "create", "ci")
    cli.json("keys rotate", "keys", "rotate", "ci", "--overlap", "0")
    assert cli.json("keys show", "keys", "show", first["id"])["state"] == "expired"


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("create", "../x"), 2, "name.invalid"),
        (("create", "a", "--scope", "root"), 2, "key.scope"),
        (("create", "a", "--scope", "public"), 2, "key.scope"),
        (("create", "a", "--rate", "fast"), 2, "usage.rate"),
        (("create", "a", "--rate", "٣/s"), 2, "usage.rate"),
        (("create", "a", "--burst", "5"), 2, "key.limit"),
        (("create", "a", "--expires", "soon"), 2, "usage.age"),
        (("create", "a", "--model", "a/b"), 2, "key.pattern"),
        (("rotate", "nope"), 3, "key.not_found"),
        (("revoke", "nope"), 3, "key.not_found"),
        (("show", "x[/]y\x1b]52;c;aGk=\x07"), 3, "key.not_found"),
    ],
)
def test_what_cannot_be_done_says_why(cli: Cli, arguments: tuple[str, ...], code: int, error: str) -> None:
    result = cli("keys", *arguments, "--json")
    assert (result.code, result.error["code"]) == (code, error)
    assert "\x1b" not in result.error["message"]


def test_a_damaged_record_is_told_with_what_to_do_and_the_other_keys_work_on(cli: Cli) -> None:
    for name in ("good", "bad"):
        cli("keys", "create", name, "-q")
    path = cli.home / "keys.json"
    document = json.loads(path.read_text())
    record = next(item for item in document["keys"].values() if item["name"] == "bad")
    record["scopes"] = ["root\x1b[31m"]
    path.write_text(json.dumps(document))
    result = cli("keys", "list")
    assert result.code == 0
    assert "good" in result.out
    assert result.err.count(f"bad ({record['id']})") == 1
    assert "keys.json" in result.err
    assert "\x1b" not in result.err
    listed = cli.json("keys list", "keys", "list")
    assert [key["name"] for key in listed["keys"]] == ["good"]
    assert [item["id"] for item in listed["damaged"]] == [record["id"]]
    refused = cli("keys", "revoke", "bad", "--json")
    assert (refused.code, refused.error["code"]) == (3, "key.damaged")
    assert record in json.loads(path.read_text())["keys"].values()


def test_a_backup_says_that_it_holds_no_keys(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    assert "keys" not in cli("backup", str(folder)).err
    text = cli("keys", "create", "ci", "-q").out.strip()
    result = cli("backup", str(folder))
    assert "API keys" in result.err
    digest = json.loads((cli.home / "keys.json").read_text())["keys"]["1"]["secret_sha256"]
    kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert digest.encode() not in kept
    assert text.encode() not in kept
