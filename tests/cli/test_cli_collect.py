"""`gc` says what it takes, before and after, and takes nothing that is needed."""

from __future__ import annotations

from pathlib import Path

from cli_harness import Cli, save_model

from quickserveml_tui.storage.artifacts import BlobArtifactStore


def store_of(cli: Cli) -> BlobArtifactStore:
    return BlobArtifactStore(cli.home / "blobs", cli.home / "cache")


def test_gc_takes_what_nothing_needs_and_a_dry_run_says_so(cli: Cli, tmp_path: Path) -> None:
    cli.json("add", "add", str(save_model(tmp_path / "m.onnx")), "--name", "m")
    digest = store_of(cli).put_bytes(b"unneeded")
    waiting = cli.json("gc", "gc")
    assert (waiting["blobs"], waiting["young"], waiting["kept_blobs"]) == (0, 1, 2)
    dry = cli.json("gc", "gc", "--dry-run", "--grace", "0")
    assert (dry["dry_run"], dry["blobs"], dry["blob_bytes"], dry["digests"]) == (True, 1, 8, [digest])
    assert store_of(cli).has(digest)
    assert cli.json("gc", "gc", "--grace", "0") == dry | {"dry_run": False}
    assert not store_of(cli).has(digest)
    assert cli.json("show", "show", "m")["name"] == "m"


def test_gc_prints_a_table_of_what_goes_and_a_line_of_what_stays(cli: Cli, tmp_path: Path) -> None:
    cli.json("add", "add", str(save_model(tmp_path / "m.onnx")), "--name", "m")
    assert cli("gc").out.startswith("Nothing to collect; 1 file of ")
    store_of(cli).put_bytes(b"unneeded")
    assert "only until it is old enough" in cli("gc").out
    lines = cli("gc", "--dry-run", "--grace", "0").out.splitlines()
    assert lines[0].split() == ["Would", "go", "Number", "Size"]
    assert lines[2].split() == ["Files", "that", "nothing", "needs", "1", "8", "B"]
    assert lines[-1].startswith("8 B would be freed; 1 file of ")
    assert cli("gc", "--grace", "0").out.splitlines()[-1].startswith("8 B freed; 1 file of ")


def test_the_grace_comes_from_the_settings(cli: Cli, tmp_path: Path, monkeypatch) -> None:
    store_of(cli).put_bytes(b"unneeded")
    monkeypatch.setenv("QSML_STORAGE_GC_GRACE", "0")
    assert cli.json("gc", "gc", "--dry-run")["blobs"] == 1


def test_a_grace_that_is_no_time_is_refused(cli: Cli) -> None:
    for text in ("5", "-1h", "soon", "1e3d", "0x0", "9999999999d"):
        refused = cli("gc", "--grace", text, "--json")
        assert (refused.code, refused.error["code"]) == (2, "usage.age"), text


def test_a_read_only_home_is_not_collected(cli: Cli, monkeypatch) -> None:
    digest = store_of(cli).put_bytes(b"unneeded")
    monkeypatch.setenv("QSML_READ_ONLY", "true")
    refused = cli("gc", "--grace", "0", "--json")
    assert (refused.code, refused.error["code"]) == (4, "store.read_only")
    assert cli.json("gc", "gc", "--dry-run", "--grace", "0")["blobs"] == 1
    assert store_of(cli).has(digest)
