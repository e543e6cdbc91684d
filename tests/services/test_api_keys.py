"""API keys: what is kept, what is refused, and what survives."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import threading

import pytest

from quickserveml_tui.core.access import Permission, RateLimit
from quickserveml_tui.core.clock import unix_time
from quickserveml_tui.core.errors import (
    ConflictError,
    DataError,
    NotFoundError,
    QuickServeError,
    ReadOnlyError,
    StoreError,
)
from quickserveml_tui.core.key_text import LENGTH, new_key, redact, split_key
from quickserveml_tui.services import api_keys
from quickserveml_tui.services.api_keys import KeysService, is_live
from quickserveml_tui.storage.api_keys import NO_FILE, KeyStore

START = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def keys(tmp_path, clock):
    return KeysService(KeyStore(tmp_path / "home" / "keys.json"), clock)


def test_only_a_digest_of_the_secret_is_kept_in_a_private_file(keys):
    created = keys.create("ci", scopes=[Permission.READ, Permission.INFER], models=["res*"], note="a\x1b[31m note")
    _prefix, identity, secret, _check = created.text.split("_")
    assert created.key.secret_sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in keys.path.read_text()
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    assert keys.get("ci") == keys.get(identity) == created.key
    assert created.key.scopes == (Permission.INFER, Permission.READ)
    assert "\x1b" not in created.key.note
    assert split_key(created.text) == (identity, secret)
    assert len(created.text) == LENGTH


def test_every_typo_and_every_truncation_of_a_key_is_told_without_a_look_up():
    _identity, _secret, text = new_key()
    for length in range(LENGTH):
        assert split_key(text[:length]) is None
    for index in range(LENGTH):
        other = "b" if text[index] != "b" else "c"
        assert split_key(text[:index] + other + text[index + 1 :]) is None
    for wrong in (text + "a", text.upper(), "", "qsml___", text.replace("_", "-"), "qsml_" + "\u0663" * (LENGTH - 5)):
        assert split_key(wrong) is None


def test_texts_lose_the_secrets_in_them_and_keep_the_ids():
    identity, secret, text = new_key()
    shown = redact(f"GET /x?key={text}&again={text[:40]} failed")
    assert secret[:10] not in shown
    assert shown.count(f"qsml_{identity}_…") == 2
    assert redact("nothing here") == "nothing here"


def test_a_name_belongs_to_one_key_until_that_is_revoked(keys):
    keys.create("ci")
    with pytest.raises(ConflictError) as error:
        keys.create("ci")
    assert error.value.code == "key.taken"
    keys.revoke("ci")
    assert keys.create("ci").key.name == "ci"
    assert len(keys.list()) == 1
    assert len(keys.list(include_revoked=True)) == 2
    assert not keys.get("ci").revoked_at


def test_a_rotation_keeps_what_the_key_may_and_lets_the_old_one_run_out(keys, clock):
    old = keys.create("ci", models=["a*"], limit=RateLimit(5, 10, 100), expires_in_s=1000, note="n").key
    clock.now += 10
    new = keys.rotate("ci", overlap_s=60).key
    assert (new.name, new.scopes, new.models, new.limit, new.note) == (
        old.name, old.scopes, old.models, old.limit, old.note,
    )  # fmt: skip
    assert unix_time(new.expires_at) == clock.now + 1000
    ending = keys.get(old.id)
    assert ending.replaced_by == new.id
    assert unix_time(ending.expires_at) == clock.now + 60
    assert keys.get("ci").id == new.id
    assert is_live(ending, clock.now + 59)
    assert not is_live(ending, clock.now + 61)
    with pytest.raises(ConflictError) as error:
        keys.rotate(old.id)
    assert error.value.code == "key.rotated"
    assert new.id in error.value.hint


def test_an_overlap_never_prolongs_a_key(keys, clock):
    old = keys.create("ci", expires_in_s=30).key
    keys.rotate("ci", overlap_s=86_400)
    assert unix_time(keys.get(old.id).expires_at) == clock.now + 30


def test_revoking_a_name_ends_all_of_its_keys_and_an_id_only_that_one(keys):
    first = keys.create("ci").key
    second = keys.rotate("ci").key
    keys.revoke(first.id)
    assert keys.get(first.id).revoked_at
    assert not keys.get(second.id).revoked_at
    third = keys.rotate(second.id).key
    assert keys.revoke("ci").id == third.id
    assert all(key.revoked_at for key in keys.list(include_revoked=True))
    once = keys.revoke(first.id).revoked_at
    assert keys.revoke(first.id).revoked_at == once
    with pytest.raises(ConflictError) as error:
        keys.rotate(third.id)
    assert error.value.code == "key.revoked"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"name": "../x"}, "name.invalid"),
        ({"name": "x[/]y"}, "name.invalid"),
        ({"name": "a" * 129}, "name.invalid"),
        ({"name": ""}, "name.invalid"),
        ({"scopes": []}, "key.scope"),
        ({"scopes": [Permission.PUBLIC]}, "key.scope"),
        ({"models": ["a/b"]}, "key.pattern"),
        ({"models": [""]}, "key.pattern"),
        ({"models": ["a"] * 65}, "key.pattern"),
        ({"limit": RateLimit(-1)}, "key.limit"),
        ({"limit": RateLimit(float("nan"))}, "key.limit"),
        ({"limit": RateLimit(0, 5)}, "key.limit"),
        ({"limit": RateLimit(0, 0, 2**63)}, "key.limit"),
        ({"expires_in_s": 0}, "key.expiry"),
        ({"expires_in_s": float("inf")}, "key.expiry"),
        ({"note": "x" * 501}, "key.note"),
    ],
)
def test_what_a_key_cannot_be_is_refused_and_nothing_is_written(keys, changes, code):
    with pytest.raises(QuickServeError) as error:
        keys.create(**{"name": "ci", **changes})
    assert error.value.code == code
    assert error.value.hint
    assert keys.token() == NO_FILE


def test_an_unknown_key_is_not_found(keys):
    for call in (keys.get, keys.rotate, keys.revoke):
        with pytest.raises(NotFoundError) as error:
            call("nope\x1b")
        assert error.value.code == "key.not_found"
        assert "\x1b" not in error.value.message


def test_the_token_changes_with_every_change_and_not_without(keys):
    seen = [keys.token()]
    for step in (lambda: keys.create("a"), lambda: keys.rotate("a"), lambda: keys.revoke("a")):
        step()
        seen.append(keys.token())
    assert len(set(seen)) == len(seen)
    keys.revoke("a")
    keys.list()
    assert keys.token() == seen[-1]


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"{}", b'{"_meta":{"1":{"schema":0}}}', b'{"_meta":{"1":{"schema":1}},"keys":[]}',
     b'{"_meta":{"1":{"schema":1}},"keys":{"1":}}', b"\xff" * 100, b"[" * 100_000],
)  # fmt: skip
def test_a_damaged_file_is_a_typed_error_and_stays_as_it_is(keys, data):
    keys.create("ci")
    keys.path.write_bytes(data)
    for call in (keys.list, lambda: keys.create("other"), lambda: keys.revoke("ci")):
        with pytest.raises(StoreError) as error:
            call()
        assert error.value.code == "store.corrupt"
        assert str(keys.path.parent) not in error.value.message
    assert keys.path.read_bytes() == data


DAMAGES = {
    "no record": lambda _record: "nonsense",
    "fields missing": lambda record: {"id": record["id"], "name": record["name"]},
    "unknown scope": lambda record: record | {"scopes": ["root"]},
    "public scope": lambda record: record | {"scopes": ["public"]},
    "wrong type": lambda record: record | {"revoked_at": 5},
    "no digest": lambda record: record | {"secret_sha256": "\u00e9" * 64},
    "no time": lambda record: record | {"expires_at": "next week"},
    "no id": lambda record: record | {"id": ""},
    "too deep": lambda record: record | {"note": json.loads("[" * 500 + "]" * 500)},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("row", ["2", "x"])
def test_a_damaged_record_costs_no_other_key_and_stays_in_the_file(keys, damage, row):
    for name in ("first", "bad", "last"):
        keys.create(name)
    document = json.loads(keys.path.read_text())
    bad = damage(document["keys"].pop("2"))
    document["keys"][row] = bad
    keys.path.write_text(json.dumps(document))
    assert [key.name for key in keys.list()] == ["first", "last"]
    (told,) = keys.damaged()
    assert told.detail
    keys.create("new")
    keys.rotate("first")
    keys.revoke("last")
    assert {key.name for key in keys.list()} == {"first", "new"}
    assert keys.damaged() == (told,)
    assert bad in json.loads(keys.path.read_text())["keys"].values()
    for wanted in filter(None, (told.id, told.name)):
        for call in (keys.get, keys.rotate, keys.revoke):
            with pytest.raises(DataError) as error:
                call(wanted)
            assert error.value.code == "key.damaged"
            assert error.value.hint
    if told.name:
        assert keys.create(told.name).key.id == keys.get(told.name).id


def test_a_file_of_a_newer_program_is_left_alone(keys):
    keys.create("ci")
    document = json.loads(keys.path.read_text())
    document["_meta"]["1"]["schema"] = 99
    keys.path.write_text(json.dumps(document))
    with pytest.raises(StoreError) as error:
        keys.create("other")
    assert error.value.code == "store.newer_schema"


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_regular_file_is_not_followed(keys, tmp_path, kind):
    keys.create("ci")
    real = keys.path.rename(tmp_path / "elsewhere.json")
    if kind == "link":
        keys.path.symlink_to(real)
    elif kind == "fifo":
        os.mkfifo(keys.path)
    else:
        keys.path.mkdir()
    with pytest.raises(StoreError):
        keys.list()


def test_a_read_only_home_makes_no_keys(tmp_path):
    with pytest.raises(ReadOnlyError):
        KeysService(KeyStore(tmp_path / "home" / "keys.json", read_only=True)).create("ci")
    assert not (tmp_path / "home").exists()


def test_a_full_home_drops_the_oldest_dead_key_and_then_refuses(keys, monkeypatch):
    monkeypatch.setattr(api_keys, "MAX_KEYS", 3)
    monkeypatch.setattr("quickserveml_tui.storage.api_keys.MAX_KEYS", 3)
    for name in ("a", "b", "c"):
        keys.create(name)
    with pytest.raises(ConflictError) as error:
        keys.create("d")
    assert error.value.code == "key.too_many"
    keys.revoke("b")
    keys.create("d")
    assert [key.name for key in keys.list(include_revoked=True)] == ["a", "c", "d"]


MAKER = """
import sys
from pathlib import Path
from quickserveml_tui.services.api_keys import KeysService
from quickserveml_tui.storage.api_keys import KeyStore
keys = KeysService(KeyStore(Path(sys.argv[1])))
for number in range(10):
    keys.create(f"{sys.argv[2]}-{number}")
    print(number, flush=True)
"""


def test_threads_and_processes_lose_no_key_to_each_other(keys):
    children = [
        subprocess.Popen([sys.executable, "-c", MAKER, str(keys.path), name], stdout=subprocess.PIPE)
        for name in ("one", "two")
    ]
    threads = [threading.Thread(target=lambda at=at: [keys.create(f"{at}-{n}") for n in range(10)]) for at in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [child.wait(60) for child in children] == [0, 0]
    for child in children:
        child.stdout.close()
    assert len(keys.list()) == 40


def test_a_writer_that_is_killed_leaves_the_old_keys_or_the_new_ones(keys):
    child = subprocess.Popen([sys.executable, "-c", MAKER, str(keys.path), "k"], stdout=subprocess.PIPE)
    acknowledged = [child.stdout.readline() for _ in range(3)]
    child.kill()
    child.wait(60)
    child.stdout.close()
    assert len(keys.list()) >= len(acknowledged)
    keys.create("after")
    assert not list(keys.path.parent.glob(".tmp-*")) or keys.get("after")
