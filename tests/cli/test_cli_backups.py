"""`export`, `import`, `backup` and `restore-backup` as commands: documents, exit codes, what people read."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_harness import Cli, save_model

from quickserveml_tui.services.home import open_workbench


@pytest.fixture
def lin(stock: Callable[..., Cli], tmp_path: Path) -> Cli:
    save_model(tmp_path / "lin.onnx")
    return stock(tmp_path / "home", ("lin", 1.0))


def test_a_version_is_exported_and_imported_elsewhere(lin: Cli, tmp_path: Path) -> None:
    path = str(tmp_path / "lin.qsml")
    exported = lin.json("export", "export", "lin", path)
    assert (exported["ref"], exported["files"]) == ("lin@1", 1)
    assert lin.json("export", "registry-export", "lin@1", path, "--overwrite") == exported
    other = Cli(tmp_path / "other")
    checked = other.json("import", "import", path, "--dry-run")
    assert checked == exported
    assert other.json("list", "list")["models"] == []
    added = other.json("import", "import", path, "--name", "copy")
    assert (added["name"], added["version"], added["existed"], added["runnable"]) == ("copy", 1, False, True)
    assert added["digest"] == exported["digest"]
    assert other.json("import", "import", path, "--name", "copy")["existed"] is True
    assert "Imported" in other("import", path, "--name", "again").out
    assert "lin@1" in other("import", path, "--dry-run").out


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("export", "lin"), 2, "usage"),
        (("export", "nothing", "x.qsml"), 3, "model.not_found"),
        (("export", "lin@9", "x.qsml"), 3, "version.not_found"),
        (("export", "./lin.onnx", "x.qsml"), 3, "model.not_found"),
        (("export", "lin#node", "x.qsml"), 2, "reference.invalid"),
        (("export", "lin", "x.zip"), 2, "usage.export"),
        (("export", "lin", "lin.onnx"), 3, "export.exists"),
        (("export", "lin", "no/folder/x.qsml"), 2, "usage.path"),
        (("import", "missing.qsml"), 3, "bundle.missing"),
        (("import", "lin.onnx"), 3, "bundle.not_a_bundle"),
        (("import", "lin.onnx", "--dry-run", "--name", "a b"), 2, "name.invalid"),
        (("backup", "b", "--keep", "0"), 2, "usage.keep"),
        (("backup", "b", "--keep", "1", "--list"), 2, "usage"),
        (("backup", "b", "--list", "--verify"), 2, "usage"),
        (("backup", "b", "20260101T000000000Z"), 2, "usage"),
        (("backup", "home/b"), 2, "usage.path"),
        (("backup", "."), 2, "usage.path"),
        (("backup", "b", "--list"), 3, "backup.not_found"),
        (("restore-backup", "b", "--yes"), 3, "backup.not_found"),
    ],
)
def test_refusals_have_a_code_and_an_exit_code(
    lin: Cli, tmp_path: Path, arguments: tuple[str, ...], code: int, error: str
) -> None:
    result = lin(*arguments, "--json")
    assert (result.code, result.error["code"]) == (code, error)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["home", "lin.onnx"]


def test_generations_are_made_listed_verified_pruned_and_restored(lin: Cli, tmp_path: Path) -> None:
    folder = str(tmp_path / "backups")
    first = lin.json("backup", "backup", folder)
    assert (first["models"], first["versions"], first["problems"]) == (1, 1, [])
    assert first["content_digest"] == lin.json("fsck", "fsck")["content_digest"]
    lin("add", str(save_model(tmp_path / "two.onnx", scale=2)))
    second = lin.json("backup", "backup", folder)
    listed = lin.json("backup", "backup", folder, "--list")["generations"]
    assert [item["id"] for item in listed] == [second["id"], first["id"]]
    assert len(lin.json("backup", "backup", folder, "--verify")["generations"]) == 2
    assert len(lin.json("backup", "backup", folder, "--verify", first["id"])["generations"]) == 1
    planned = lin.json("restore-backup", "restore-backup", folder, "--at", first["id"], "--dry-run")
    assert (planned["dry_run"], planned["changes"]) == (True, ["removes two (1 version)"])
    refused = lin("restore-backup", folder, "--at", first["id"], "--json")
    assert (refused.code, refused.error["code"]) == (2, "usage")
    restored = lin.json("restore-backup", "restore-backup", folder, "--at", first["id"], "--yes")
    assert restored["kept"]
    assert lin.json("fsck", "fsck")["content_digest"] == first["content_digest"]
    assert len(lin.json("list", "list")["models"]) == 1
    assert lin.json("backup", "backup", folder, "--keep", "1")["models"] == 1
    assert len(lin.json("backup", "backup", folder, "--list")["generations"]) == 1


def test_damage_is_told_with_exit_code_1(lin: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    made = lin.json("backup", "backup", str(folder))
    path = folder / "generations" / made["id"] / "registry.json"
    path.write_bytes(path.read_bytes()[:-1])
    found = lin.json("backup", "backup", str(folder), "--verify", code=1)
    assert found["generations"][0]["problems"]
    refused = lin("restore-backup", str(folder), "--yes", "--json")
    assert (refused.code, refused.error["code"]) == (4, "backup.damaged")
    for blob in (tmp_path / "home" / "blobs" / "sha256").glob("*/*"):
        blob.unlink()
    assert lin.json("backup", "backup", str(tmp_path / "other"), code=1)["problems"]


def test_nothing_is_collected_while_the_registry_is_gone(lin: Cli, tmp_path: Path) -> None:
    assert lin("tag", "lin", "x").code == 0
    home = tmp_path / "home"
    blobs = sorted(path for path in (home / "blobs" / "sha256").rglob("*") if path.is_file())
    for blob in blobs:
        os.utime(blob, (1, 1))
    (home / "registry.json").rename(tmp_path / "away.json")
    for options in ((), ("--grace", "0"), ("--dry-run",)):
        refused = lin("gc", *options)
        assert refused.code == 4
        assert "Nothing was collected: registry.json is gone" in refused.err
        assert refused.err.rstrip().endswith("fsck --repair")
    assert lin("add", str(save_model(tmp_path / "two.onnx", scale=2))).code == 4
    listed = lin("list")
    assert ("lin" in listed.out, "registry.json is gone" in listed.err) == (True, True)
    assert lin.json("fsck", "fsck", code=1)["findings"][0]["code"] == "store.gone"
    assert all(blob.exists() for blob in blobs)
    assert "came back from the generation" in lin("fsck", "--repair").out
    assert lin("gc", "--grace", "0").code == 0
    assert sorted(path for path in (home / "blobs" / "sha256").rglob("*") if path.is_file()) == blobs


def test_people_read_sentences(lin: Cli, tmp_path: Path) -> None:
    folder = str(tmp_path / "backups")
    assert "is kept" in lin("backup", folder).out
    assert "1 model, 1 version" in lin("backup", folder, "--list").out
    lin("delete", "lin", "--yes")
    assert "adds lin" in lin("restore-backup", folder, "--dry-run").out
    result = lin("restore-backup", folder, "--yes")
    assert "The home is as it was" in result.out
    undo = result.out.splitlines()[-1].partition("Undo: quickserveml ")[2].split()
    assert undo[-4:-1] == ["restore-backup", folder, "--at"]
    assert lin(*undo, "--yes").code == 0
    assert lin.json("list", "list")["models"] == []
    asked = lin("restore-backup", folder)
    assert (asked.code, "--yes" in asked.err) == (2, True)


def test_the_generation_that_was_asked_about_is_the_one_that_is_restored(
    lin: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path / "backups")
    first = lin.json("backup", "backup", folder)["id"]
    second = Cli(tmp_path / "home")

    class Slow:
        """Somebody who thinks while another backup is made."""

        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            monkeypatch.undo()
            workbench = open_workbench(tmp_path / "home")
            workbench.catalog.delete("lin")
            workbench.backups.create(folder)
            workbench.close()
            return "y\n"

    monkeypatch.setattr(sys, "stdin", Slow())
    result = lin("restore-backup", folder)
    assert result.code == 0
    assert f"Bring the home back to {first}?" in result.err
    assert f"as it was in {first}" in result.out
    assert len(second.json("list", "list")["models"]) == 1
