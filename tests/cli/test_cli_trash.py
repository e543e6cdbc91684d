"""Deleting and its undo, purging, bulk changes, lineage, protected aliases and linked files from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_harness import Cli, save_model

from quickserveml_tui.cli import catalog_changes


@pytest.fixture
def zoo(stock: Callable[..., Cli], tmp_path: Path) -> Cli:
    """`lin` with two versions and `other` with one."""
    return stock(tmp_path / "home", ("lin", 1.0), ("lin", 2.0), ("other", 3.0))


def _names(cli: Cli) -> list[str]:
    return [item["name"] for item in cli.json("list", "list")["models"]]


def test_the_printed_command_undoes_a_deletion(zoo: Cli) -> None:
    zoo("alias", "lin@1", "old")
    before = zoo.json("show", "show", "lin")
    for ref in ("lin@1", "lin"):
        result = zoo("delete", ref)
        assert (result.code, ref in result.out) == (0, True)
        command = result.out.split("Undo: quickserveml ")[1].split()
        assert zoo(*command).code == 0
        after = zoo.json("show", "show", "lin")
        for key in ("versions", "alias_targets", "tags", "id"):
            assert after[key] == before[key]
    assert zoo.json("trash", "trash") == {"entries": [], "total": 0}


def test_trash_lists_what_can_be_restored(zoo: Cli) -> None:
    assert "empty" in zoo("trash").out
    deleted = zoo.json("delete", "delete", "lin@1")
    assert (deleted["deleted"], deleted["versions_left"]) == ("lin@1", 1)
    zoo.json("delete", "delete", "other")
    document = zoo.json("trash", "trash")
    assert [(entry["title"], entry["kind"]) for entry in document["entries"]] == [
        ("other", "model"), ("lin@1", "version"),
    ]  # fmt: skip
    assert document["entries"][1]["id"] == deleted["trash_id"]
    text = zoo("trash").out
    assert "lin@1" in text
    assert deleted["trash_id"] in text
    assert zoo("trash", "--format", "csv").out.count("\n") == 3
    restored = zoo.json("restore", "restore", "lin@1")
    assert (restored["restored"], restored["version"], restored["lost"]) == ("lin@1", 1, [])
    assert zoo.json("restore", "restore", "other", "--name", "third")["name"] == "third"


def test_the_printed_command_undoes_a_deletion_of_several(zoo: Cli) -> None:
    before = [zoo.json("show", "show", name)["versions"] for name in ("lin", "other")]
    for arguments in (("lin@1", "lin", "other"), ("--filter", "lin OR other", "--yes")):
        out = zoo("delete", *arguments).out
        assert _names(zoo) == []
        undone = zoo(*out.splitlines()[-1].partition("Undo: quickserveml ")[2].split())
        assert (undone.code, undone.err) == (0, "")
        assert [zoo.json("show", "show", name)["versions"] for name in ("lin", "other")] == before
        assert zoo.json("trash", "trash")["total"] == 0
    assert "Undo" not in zoo("delete", "lin", "other", "--dry-run").out


def test_one_that_cannot_be_restored_does_not_keep_the_others(zoo: Cli) -> None:
    for as_json in (True, False):
        zoo("delete", "lin@1")
        zoo("delete", "other")
        wanted = ("lin@1", "nothing", "other", "other")
        if as_json:
            document = zoo.json("restore", "restore", *wanted, code=3)
            assert [item["restored"] for item in document["restored"]] == ["lin@1", "other"]
            (failed,) = document["failed"]
            assert (failed["what"], failed["error"]["code"]) == ("nothing", "trash.not_found")
        else:
            result = zoo("restore", *wanted)
            assert result.code == 3
            assert ("Restored lin@1." in result.out, "Restored other." in result.out) == (True, True)
            assert "nothing: “nothing” is not in the trash." in result.err
        assert zoo.json("trash", "trash")["total"] == 0
    assert zoo("restore", "lin", "other", "--name", "third").code == 2


def test_the_version_that_a_protected_alias_points_at_is_named(zoo: Cli) -> None:
    zoo("alias", "lin@2", "prod")
    assert "lin@2 cannot be deleted: prod points at it." in zoo("delete", "lin@2").err
    assert "lin cannot be deleted: prod points at it." in zoo("delete", "lin").err
    assert "lin@2 cannot be deleted: prod points at it." in zoo("delete", "lin@prod", "other").err


def test_a_taken_name_is_told_with_the_way_out(zoo: Cli, model: Path) -> None:
    zoo("delete", "lin")
    assert zoo("add", str(model), "--name", "lin").code == 0
    refused = zoo("restore", "lin", "--json")
    assert (refused.code, refused.error["code"]) == (3, "name.taken")
    assert "--name NEW" in refused.error["hint"]


def test_what_did_not_come_back_is_said(zoo: Cli) -> None:
    zoo("alias", "lin@1", "old")
    zoo("update", "lin@1", "--label", "1.0.0")
    zoo("delete", "lin@1")
    zoo("alias", "lin@2", "old")
    zoo("update", "lin@2", "--label", "1.0.0")
    result = zoo("restore", "lin@1")
    assert result.code == 0
    assert "1.0.0 belongs to another version" in result.err
    assert "old points at version 2" in result.err


def test_purge_forgets_only_what_it_is_told(zoo: Cli) -> None:
    zoo("delete", "lin@1")
    zoo("delete", "other")
    dry = zoo.json("purge", "purge", "--all", "--dry-run")
    assert (dry["dry_run"], [entry["title"] for entry in dry["purged"]]) == (True, ["other", "lin@1"])
    assert dry["size_bytes"] > 0
    assert zoo("purge", "--all", "--json").error["hint"] == "Add --yes."
    assert zoo.json("trash", "trash")["total"] == 2
    assert zoo.json("purge", "purge", "--older-than", "1h", "--yes")["purged"] == []
    assert [entry["title"] for entry in zoo.json("purge", "purge", "lin@1", "--yes")["purged"]] == ["lin@1"]
    assert "1 entry purged" in zoo("purge", "--all", "--yes").out
    assert zoo.json("trash", "trash")["total"] == 0
    assert "nothing to purge" in zoo("purge", "--all").out


def test_bulk_changes_say_what_each_model_gets(zoo: Cli) -> None:
    dry = zoo.json("tag", "tag", "--filter", "lin", "fast", "--dry-run")
    assert dry == {
        "dry_run": True, "changed": 1, "refused": 0,
        "items": [{"ref": "lin", "change": "adds tag fast", "refused": "", "code": "", "trash_id": ""}],
    }  # fmt: skip
    assert zoo.json("show", "show", "lin")["tags"] == []
    assert "lin: adds tag fast" in zoo("tag", "--filter", "lin", "fast").out
    assert zoo.json("tag", "tag", "--filter", "tag:fast", "--remove", "fast")["changed"] == 1
    assert zoo.json("categorise", "categorise", "--filter", "lin OR other", "a/b")["changed"] == 2
    assert zoo.json("categorise", "categorise", "other", "--remove", "A/B")["categories"] == []
    updated = zoo.json("update", "update", "lin@1", "other", "--state", "archived", "--task", "t")
    assert updated["changed"] == 2
    assert zoo.json("show", "show", "lin@1")["state"] == "archived"
    assert zoo.json("show", "show", "lin@2")["state"] == "draft"


def test_a_bulk_deletion_goes_on_past_what_is_refused(zoo: Cli) -> None:
    zoo("alias", "lin@2", "prod")
    for dry_run in (True, False):
        options = ("--dry-run",) if dry_run else ()
        document = zoo.json("delete", "delete", "lin", "lin@1", "other", *options, code=3)
        assert (document["changed"], document["refused"], document["items"][0]["code"]) == (2, 1, "alias.protected")
    assert _names(zoo) == ["lin"]
    assert zoo.json("delete", "delete", "--filter", "lin", "--yes", "--force")["changed"] == 1
    assert _names(zoo) == []
    assert zoo.json("trash", "trash")["total"] == 3
    assert zoo.json("delete", "delete", "--filter", "lin", "--yes")["items"] == []


def test_aliases_are_protected_and_show_their_history(zoo: Cli) -> None:
    zoo("alias", "lin@1", "canary")
    assert zoo.json("alias", "alias", "lin@2", "canary", "--protect")["protected"] == ["canary"]
    refused = zoo("alias", "lin", "canary", "--remove", "--json")
    assert (refused.code, refused.error["code"]) == (3, "alias.protected")
    history = zoo.json("alias", "alias", "lin", "--history")
    assert [(event["previous"], event["version"]) for event in history["alias_history"]] == [(0, 1), (1, 2)]
    assert (history["alias_targets"], history["protected"]) == ({"canary": 2}, ["canary"])
    assert "@1 → @2" in zoo("alias", "lin", "canary", "--history").out
    assert "No alias" in zoo("alias", "other", "--history").out
    assert "@1 → @2" in zoo("show", "lin").out
    assert "Protected" in zoo("show", "lin").out
    assert zoo.json("alias", "alias", "lin", "canary", "--unprotect")["protected"] == []
    assert zoo.json("alias", "alias", "lin", "canary", "--remove")["alias_targets"] == {}


def test_lineage_notes_and_categories_are_kept_and_shown(zoo: Cli, tmp_path: Path) -> None:
    path = str(save_model(tmp_path / "child.onnx", scale=9.0))
    added = zoo.json(
        "add", "add", path, "--parent", "lin@latest", "--made-from", "run 7", "--converted-by", "torch 2.9",
        "--category", "vision/ocr", "--notes", "quantised",
    )  # fmt: skip
    assert added["lineage"] == {"made_from": "run 7", "converted_by": "torch 2.9", "parent": "lin@2"}
    assert (added["categories"], added["warning"]) == (["vision/ocr"], "")
    shown = zoo.json("show", "show", "child")
    assert (shown["lineage"], shown["notes"]) == (added["lineage"], "quantised")
    text = zoo("show", "child").out
    for words in ("vision/ocr", "run 7", "torch 2.9", "lin@2", "quantised"):
        assert words in text
    again = zoo.json("add", "add", path, "--name", "child", "--tag", "late", "--notes", "better")
    assert (again["existed"], again["tags"]) == (True, ["late"])
    changed = zoo.json("update", "update", "child", "--parent", "", "--made-from", "run 8")
    assert changed["lineage"] == {"made_from": "run 8", "converted_by": "torch 2.9", "parent": ""}


def test_a_linked_model_stays_where_it_is(cli: Cli, model: Path) -> None:
    added = cli.json("add", "add", str(model), "--link")
    assert added["linked"] is True
    assert cli.json("show", "show", "linear")["links"] == [str(model)]
    assert str(model) in cli("show", "linear").out
    assert cli("predict", "linear", "--json").code == 0
    model.unlink()
    gone = cli("predict", "linear", "--json")
    assert (gone.code, gone.error["code"]) == (4, "artifact.missing")
    save_model(model, scale=5.0)
    changed = cli("predict", "linear", "--json")
    assert (changed.code, changed.error["code"]) == (4, "artifact.changed")


def test_a_version_is_shown_and_changed_by_a_label_that_the_change_takes_away(zoo: Cli) -> None:
    assert zoo("update", "lin@1", "--label", "1.0").code == 0
    changed = zoo.json("show", "update", "lin@1.0", "--label", "2.0")
    assert (changed["version"], changed["label"]) == (1, "2.0")


def test_a_version_is_shown_although_its_file_is_gone(zoo: Cli) -> None:
    digest = zoo.json("show", "show", "lin@1")["digest"]
    (zoo.home / "blobs" / "sha256" / digest[:2] / digest).unlink()
    assert zoo.json("show", "show", "lin@1")["digest"] == digest
    assert zoo("update", "lin@1", "--notes", "gone").code == 0
    assert zoo("show", "lin@9").code == 3


def test_the_question_before_a_deletion_counts_what_will_go(zoo: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo("alias", "lin@1", "prod")
    asked: list[str] = []
    monkeypatch.setattr(catalog_changes, "confirm", lambda question, **_: asked.append(question))
    assert zoo("delete", "--filter", "params > 0").code == 3
    assert asked == ["Move 1 model to the trash, 1 refused: other?"]
    assert _names(zoo) == ["lin"]
