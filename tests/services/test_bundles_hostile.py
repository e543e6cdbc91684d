"""A broken or hostile bundle is refused with a clear code before the store keeps any of it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import zipfile
from contextlib import suppress

import msgspec
import pytest
from bad_names import LABELS, NAMES
from catalog_builders import PoolDouble, RunnerDouble, save_external, save_linear
from maintenance_homes import add_model, add_run

from quickserveml_tui.core.errors import DataError, UsageError
from quickserveml_tui.services import bundle_format as form
from quickserveml_tui.services.bundles import BundleService
from quickserveml_tui.services.home import open_workbench
from quickserveml_tui.storage import archive


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Names and contents of a bundle with two model files and one benchmark."""
    folder = tmp_path_factory.mktemp("bundle")
    home = open_workbench(folder / "home")
    save_external(folder / "lin.onnx")
    files = {name: (folder / name).read_bytes() for name in ("lin.onnx", "weights.bin")}
    add_run(home, add_model(home, folder, "lin", files))
    home.bundles.export("lin", str(folder / "a.qsml"))
    with zipfile.ZipFile(folder / "a.qsml") as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.fixture
def home(tmp_path):
    """A home whose runner would take any model: what is refused here is refused before."""
    opened = open_workbench(tmp_path / "home")
    pool = PoolDouble(RunnerDouble(external=["weights.bin"]))
    opened.__dict__["bundles"] = BundleService(opened.registry, opened.artifacts, opened.state, pool)
    return opened


def write(path, members):
    """An archive in the canonical form; `members` are pairs."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        writer = archive.ArchiveWriter(descriptor)
        for name, data in members:
            writer.add(name, len(data), [data])
        writer.finish()
    finally:
        os.close(descriptor)
    return path


def summed(members):
    """The members with a `SHA256SUMS` that fits them."""
    rest = [(name, data) for name, data in members if name != "SHA256SUMS"]
    lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in rest)
    return [*rest, ("SHA256SUMS", lines.encode())]


def edited(bundle, **changes):
    """The bundle with another description, its sums in order."""
    return sealed(bundle, json.loads(bundle["bundle.json"]) | changes)


def sealed(bundle, document):
    """The bundle with a description whose content digest and sums fit, as far as it can have one."""
    if "wrong content" not in document.get("notes", ""):
        runs = [data for name, data in bundle.items() if name.startswith("benchmarks/") and name.endswith(".json")]
        digests = [hashlib.sha256(data).hexdigest() for data in runs]
        with suppress(msgspec.ValidationError, ValueError):
            found = form.with_content_digest(msgspec.convert(document, form.BundleDocument), digests)
            document = document | {"content_digest": found.content_digest}
    return summed((bundle | {"bundle.json": json.dumps(document).encode()}).items())


def check_refused(home, path, code):
    for action in (home.bundles.read, home.bundles.import_bundle):
        with pytest.raises(DataError) as caught:
            action(str(path))
        assert caught.value.code in ([code] if isinstance(code, str) else code)
        assert caught.value.message.endswith(".")
        assert caught.value.hint
    assert home.registry.models() == ()
    blobs = home.home / "blobs"
    assert not [item for item in blobs.rglob("*") if item.is_file() and item.suffix != ".lock"]


def test_the_bundle_itself_is_taken(bundle, home, tmp_path):
    path = write(tmp_path / "a.qsml", bundle.items())
    assert home.bundles.import_bundle(str(path)).version.version == 1


# ---- the archive ----------------------------------------------------------------------------------------------------


def zipped(path, names, *, compression=zipfile.ZIP_STORED, **fields):
    """An archive of Python's zip library, with fields of each entry changed."""
    with zipfile.ZipFile(path, "w", compression) as writer:
        for name, data in names:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = compression
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            for field, value in fields.items():
                setattr(info, field, value)
            writer.writestr(info, data)
    return path


def patched(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


def with_flag(path, flag):
    """The archive with a general-purpose flag set in each directory entry."""
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\1\2")
    while at >= 0:
        struct.pack_into("<H", data, at + 8, flag)
        at = data.find(b"PK\1\2", at + 4)
    path.write_bytes(data)
    return path


ARCHIVES = {
    "empty": (lambda path, _: path.write_bytes(b""), "bundle.not_a_bundle"),
    "text": (lambda path, _: path.write_text("hello"), "bundle.not_a_bundle"),
    "no members": (lambda path, _: write(path, []), "bundle.invalid"),
    "another zip": (lambda path, _: write(path, [("a.txt", b"x")]), "bundle.invalid"),
    "compressed": (lambda path, all_: zipped(path, all_, compression=zipfile.ZIP_DEFLATED), "bundle.compressed"),
    "bomb": (
        lambda path, all_: zipped(path, [*all_, ("zeros", b"\0" * 10_000_000)], compression=zipfile.ZIP_DEFLATED),
        "bundle.compressed",
    ),
    "encrypted": (lambda path, all_: with_flag(write(path, all_), 0x801), "bundle.encrypted"),
    "link": (lambda path, all_: zipped(path, all_, external_attr=(stat.S_IFLNK | 0o777) << 16), "bundle.link"),
    "device": (lambda path, all_: zipped(path, all_, external_attr=stat.S_IFCHR << 16), "bundle.link"),
    "repacked": (zipped, "bundle.damaged"),
    "comment": (
        lambda path, all_: path.write_bytes(write(path, all_).read_bytes()[:-2] + b"\1\0x"),
        "bundle.truncated",
    ),
    "data before": (lambda path, all_: path.write_bytes(b"PK\3\4" + write(path, all_).read_bytes()), "bundle.damaged"),
    "data after": (lambda path, all_: path.write_bytes(write(path, all_).read_bytes() + b"x"), "bundle.truncated"),
    "twice": (lambda path, all_: write(path, [*all_, all_[0]]), "bundle.duplicate"),
    "file and folder": (lambda path, all_: write(path, [*all_, ("model", b"x")]), "bundle.duplicate"),
    "extra": (lambda path, all_: write(path, summed([*all_, ("z.txt", b"x")])), "bundle.invalid"),
    "missing": (lambda path, all_: write(path, summed(all_[:-2])), "bundle.invalid"),
    "order": (lambda path, all_: write(path, summed([all_[0], *all_[2:-1], all_[1]])), "bundle.invalid"),
    "no sums": (lambda path, all_: write(path, all_[:-1]), "bundle.invalid"),
    "sums short": (lambda path, all_: write(path, [*all_[:-1], ("SHA256SUMS", b"")]), "bundle.invalid"),
    "sums odd": (lambda path, all_: write(path, [*all_[:-1], ("SHA256SUMS", b"\xff")]), "bundle.invalid"),
    "header changed": (lambda path, all_: patched(write(path, all_), b"PK\3\4\x14", b"PK\3\4\x15"), "bundle.damaged"),
    "two names": (
        lambda path, all_: path.write_bytes(
            write(path, all_).read_bytes().replace(b"model/lin.onnx", b"model/lix.onnx", 1)
        ),
        ("bundle.damaged", "bundle.invalid"),
    ),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_an_archive_in_another_form_is_refused(bundle, home, tmp_path, case):
    make, code = ARCHIVES[case]
    path = tmp_path / "x.qsml"
    make(path, list(bundle.items()))
    check_refused(home, path, code)


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "a/../../x", "model/../x", "C:/x", "C:x", "a\\..\\x", "..\\x", "./x", "a//b", "a/", "", ".",
     "..", "a\0b", "x" * 256, "d/" * 600 + "x", "a\x1b[31m", "a\u202eb", "a\u200bb", "a\nb"],
)  # fmt: skip
def test_a_name_that_leaves_the_folder_or_misleads_is_refused(bundle, home, tmp_path, name):
    members = [*list(bundle.items())[:-1], (name, b"x")]
    check_refused(home, write(tmp_path / "x.qsml", summed(members)), "bundle.unsafe_path")
    assert sorted(item.name for item in tmp_path.iterdir()) in (["home", "x.qsml"], ["x.qsml"])


def test_names_that_are_not_utf8_are_refused(bundle, home, tmp_path):
    path = patched(write(tmp_path / "x.qsml", bundle.items()), b"weights.bin", b"weights.\xff\xfen")
    check_refused(home, path, ("bundle.unsafe_path", "bundle.damaged", "bundle.invalid"))


def test_members_that_overlap_are_refused(bundle, home, tmp_path):
    """The classic bomb: many entries over the same bytes."""
    path = tmp_path / "x.qsml"
    write(path, bundle.items())
    data = path.read_bytes()
    first = data.index(b"PK\1\2")
    entry_size = 46 + len("bundle.json")
    entry = data[first : first + entry_size]
    twins = b"".join(entry.replace(b"bundle.json", b"bundl%02d.jso" % number) for number in range(50))
    end = data.index(b"PK\5\6")
    count = len(bundle) + 50
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, end - first + len(twins), first, 0)
    path.write_bytes(data[:end] + twins + tail)
    check_refused(home, path, "bundle.damaged")


def test_a_directory_that_claims_too_much_is_refused_without_reading_it(home, tmp_path):
    path = tmp_path / "x.qsml"
    for count, size, at in ((65_000, 0x7FFFFFFF, 0), (3, 10, 0x7FFFFFFF), (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)):
        path.write_bytes(b"PK\3\4" + b"\0" * 200 + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, at, 0))
        check_refused(home, path, ("bundle.too_large", "bundle.truncated", "bundle.damaged"))


def test_a_bundle_cut_anywhere_is_refused(bundle, home, tmp_path):
    whole = write(tmp_path / "whole.qsml", bundle.items()).read_bytes()
    path = tmp_path / "x.qsml"
    for end in range(0, len(whole), max(len(whole) // 60, 1)):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError):
            home.bundles.import_bundle(str(path))
    assert home.registry.models() == ()


def test_a_change_of_any_byte_is_noticed(bundle, home, tmp_path):
    whole = write(tmp_path / "whole.qsml", bundle.items()).read_bytes()
    path = tmp_path / "x.qsml"
    for at in range(0, len(whole), 13):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        with pytest.raises(DataError):
            home.bundles.read(str(path))


# ---- the description ------------------------------------------------------------------------------------------------


def run_with(bundle, **changes):
    """The bundle with its benchmark changed."""
    name = next(name for name in bundle if name.startswith("benchmarks/") and name.endswith(".json"))
    run = json.loads(bundle[name]) | changes
    return sealed(bundle | {name: json.dumps(run).encode()}, json.loads(bundle["bundle.json"]))


FILE = {"path": "lin.onnx", "digest": "0" * 64, "size_bytes": 1}
GOLDEN = {"name": "g", "inputs_digest": "0" * 64, "outputs_digest": "0" * 64, "created_at": ""}
DOCUMENTS = {
    "newer": ({"format_version": 2}, "bundle.newer_format"),
    "no version": ({"format_version": "x"}, "bundle.invalid"),
    "another format": ({"format": "zip"}, "bundle.invalid"),
    "unknown field": ({"run_this": "rm -rf /"}, "bundle.invalid"),
    "no files": ({"files": []}, "bundle.invalid"),
    "wrong digest": ({"artifact": "abc"}, "bundle.invalid"),
    "digest is a path": ({"files": [FILE | {"digest": "../" * 21 + "x"}]}, "bundle.invalid"),
    "wrong content": ({"notes": "wrong content"}, "bundle.invalid"),
    "wrong size": (None, "bundle.invalid"),
    "version zero": ({"version": 0}, "bundle.invalid"),
    "version huge": ({"version": 2**63}, "bundle.invalid"),
    "state": ({"state": "prod"}, "bundle.invalid"),
    "escape": ({"description": "\x1b]52;c;eA==\x07"}, "bundle.invalid"),
    "too many tags": ({"tags": ["a b"]}, "bundle.invalid"),
    "category": ({"categories": ["../x"]}, "bundle.invalid"),
    "metadata": ({"metadata": {"": "x"}}, "bundle.invalid"),
    "long metadata": ({"version_metadata": {"k": "x" * 100_000}}, "bundle.invalid"),
    "long source": ({"source": "x" * 1000}, "bundle.invalid"),
    "escape in source": ({"source": "a\x1b[31m.onnx"}, "bundle.invalid"),
    "escape in time": ({"created_at": "\x1b[31m"}, "bundle.invalid"),
    "long program": ({"program": "x" * 10_000}, "bundle.invalid"),
    "lineage": ({"lineage": {"parent": "\u202e"}}, "bundle.invalid"),
    "run id": ({"benchmarks": [{"id": "../../x", "samples": ""}]}, "bundle.invalid"),
    "run twice": ({"benchmarks": [{"id": "a", "samples": ""}, {"id": "a", "samples": ""}]}, "bundle.invalid"),
    "golden name": (
        {"golden": [{"name": "../x", "inputs_digest": "0" * 64, "outputs_digest": "0" * 64, "created_at": ""}]},
        "bundle.invalid",
    ),
    "golden tolerance": ({"golden": [GOLDEN | {"rtol": -1}]}, "bundle.invalid"),
    "golden source": ({"golden": [GOLDEN | {"source": "\u202e"}]}, "bundle.invalid"),
    "golden runtime": ({"golden": [GOLDEN | {"runtime": "\x1b[31m"}]}, "bundle.invalid"),
    "golden without end": ({"golden": [GOLDEN | {"name": f"g{number}"} for number in range(65)]}, "bundle.invalid"),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_description_that_is_wrong_is_refused(bundle, home, tmp_path, case):
    changes, code = DOCUMENTS[case]
    if changes is None:
        files = json.loads(bundle["bundle.json"])["files"]
        changes = {"files": [files[0] | {"size_bytes": 5}, *files[1:]]}
    check_refused(home, write(tmp_path / "x.qsml", edited(bundle, **changes)), code)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b'{"format": NaN}', b"[" * 100_000, b"null"])
def test_a_description_that_is_no_document_is_refused(bundle, home, tmp_path, text):
    path = write(tmp_path / "x.qsml", summed((bundle | {"bundle.json": text}).items()))
    check_refused(home, path, "bundle.invalid")


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "bench-other"},
        {"summary": None},
        {"spec": {"duration_s": "x"}},
        {"spec": {"duration_s": 1e308}},
        {"spec": {"provider": "a b; rm -rf ~"}},
        {"created_at": "9999"},
        {"created_at": "2026-13-01T00:00:00.000Z"},
        {"created_at": "0001-01-01T00:00:00.000Z"},
        {"created_at": "9999-01-01T00:00:00.000Z"},
        {"created_at": "\x1b[31m"},
    ],
)
def test_a_benchmark_that_is_wrong_is_refused(bundle, home, tmp_path, changes):
    check_refused(home, write(tmp_path / "x.qsml", run_with(bundle, **changes)), "bundle.invalid")


def test_a_model_that_is_not_the_one_named_is_refused(bundle, home, tmp_path):
    other = (save_linear(tmp_path / "other.onnx", 9.0)).read_bytes()
    path = write(tmp_path / "x.qsml", summed((bundle | {"model/lin.onnx": other}).items()))
    check_refused(home, path, ("bundle.damaged", "bundle.invalid"))


@pytest.mark.parametrize("name", [name for name in NAMES if name])
def test_no_bad_name_is_taken_from_a_bundle_or_a_caller(bundle, home, tmp_path, name):
    good = write(tmp_path / "good.qsml", bundle.items())
    with pytest.raises(UsageError) as caught:
        home.bundles.import_bundle(str(good), name=name)
    assert caught.value.code == "name.invalid"
    try:
        path = write(tmp_path / "x.qsml", edited(bundle, name=name))
    except UnicodeEncodeError:
        return
    check_refused(home, path, "bundle.invalid")


@pytest.mark.parametrize("label", LABELS[:20])
def test_no_bad_label_is_taken_from_a_bundle(bundle, home, tmp_path, label):
    check_refused(home, write(tmp_path / "x.qsml", edited(bundle, label=label)), "bundle.invalid")


# ---- the path -------------------------------------------------------------------------------------------------------


def test_a_path_that_leads_to_no_bundle_is_refused(home, tmp_path):
    os.mkfifo(tmp_path / "fifo.qsml")
    (tmp_path / "loop.qsml").symlink_to("loop.qsml")
    (tmp_path / "dir.qsml").mkdir()
    paths = ["missing.qsml", "fifo.qsml", "loop.qsml", "dir.qsml", "a\0b", "\udcc0", "x" * 300, "~nobody-here/x", ""]
    for path in [*(str(tmp_path / name) for name in paths), "/dev/zero", "/dev/null"]:
        for action in (home.bundles.read, home.bundles.import_bundle):
            with pytest.raises((DataError, UsageError)) as caught:
                action(path)
            assert caught.value.hint
    assert home.registry.models() == ()
