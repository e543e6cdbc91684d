"""Any number of processes may write at once, and be killed, without an acknowledged write being lost.

`pytest -m slow tests/storage/test_storage_processes.py` kills a thousand.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from storage_kills import Nursery, folder_in_memory
from storage_linear import Seen, find_order
from storage_samples import make_model
from storage_writers import INITIAL, NAMES, READS, apply, read_history, small_model
from tinydb import TinyDB, where

from quickserveml_tui.storage import fs
from quickserveml_tui.storage.registry import TinyDbRegistry


@pytest.fixture(scope="module")
def nursery():
    with Nursery("storage_writers") as nursery:
        yield nursery


@pytest.fixture
def path():
    with folder_in_memory() as folder:
        yield folder / "home" / "registry.json"


# ---- at once


def test_eight_processes_see_one_order_of_all_they_do(path, nursery):
    TinyDbRegistry(path).edit(lambda edit: [edit.put(small_model(name)) for name in NAMES])
    with fs.locked(path.with_name("registry.json.lock"), "test"):  # they begin together
        children = [nursery.start("storage_writers:mixed_operations", str(path), worker, 200) for worker in range(8)]
    histories = [read_history(child.lines()) for child in children]
    assert [len(history) for history in histories] == [200] * 8
    assert find_order(histories, INITIAL, apply, READS) is not None
    store = TinyDbRegistry(path)
    last = Seen("heads", NAMES, None, [[m.name, m.rev, m.task, m.author] for m in store.models()], 2**63, 2**63)
    assert find_order([*histories, [last]], INITIAL, apply, READS) is not None
    assert sorted([m.name for m in store.models()] + [entry.name for entry in store.trash()]) == list(NAMES)


def seen(kind, name, asked, result, start, end):
    return Seen(kind, (name,), asked, result, start, end)


@pytest.mark.parametrize(
    ("histories", "is_possible"),
    [
        ([[seen("write", "m0", "a", 2, 0, 9)], [seen("write", "m0", "b", 3, 0, 9)]], True),
        ([[seen("write", "m0", "a", 2, 0, 9)], [seen("write", "m0", "b", 2, 0, 9)]], False),  # a lost update
        ([[seen("write", "m0", "a", 2, 0, 3)], [seen("find", "m0", None, [1, "", "0"], 4, 9)]], False),  # a stale read
        ([[seen("write", "m0", "a", 2, 0, 5)], [seen("find", "m0", None, [1, "", "0"], 4, 9)]], True),
        ([[seen("write", "m0", "a", 3, 0, 3)], [seen("write", "m0", "b", 2, 4, 9)]], False),  # against real time
        ([[seen("write if", "m0", [2, "a"], 3, 0, 3)]], False),
        ([[seen("delete", "m0", None, True, 0, 3), seen("restore", "m0", None, None, 4, 5)]], False),
        (
            [
                [seen("transfer", "m0", None, [2, 2], 0, 9)],
                [Seen("heads", NAMES, None, [["m0", 2, "", "-1"], *([n, 1, "", "0"] for n in NAMES[1:])], 1, 8)],
            ],
            False,  # half of a transaction
        ),
    ],
)
def test_the_search_for_an_order_finds_what_cannot_be(histories, is_possible):
    histories = [
        [replace(one, names=("m0", "m1")) if one.kind == "transfer" else one for one in history]
        for history in histories
    ]
    assert (find_order(histories, INITIAL, apply, READS) is not None) == is_possible


def test_tinydbs_own_storage_has_no_order_for_two_writers(tmp_path):
    path = tmp_path / "db.json"
    with TinyDB(path) as first, TinyDB(path) as second:
        first.insert_multiple([{"name": name, "rev": 1, "task": ""} for name in NAMES])
        results = []

        def write(db, name, task):
            def change(document):
                document |= {"rev": document["rev"] + 1, "task": task}
                results.append(document["rev"])

            db.update(change, where("name") == name)

        def change_while_another_writes(document):
            write(second, "m1", "b")
            document["rev"] += 1

        first.update(change_while_another_writes, where("name") == "m0")
        found = first.get(where("name") == "m1")
    histories = [
        [seen("write", "m0", "", 2, 0, 5), seen("find", "m1", None, [found["rev"], found["task"], "0"], 6, 7)],
        [seen("write", "m1", "b", results[0], 1, 4)],
    ]
    assert find_order(histories, INITIAL, apply, READS) is None


# ---- kill -9


class Killer:
    """Rounds of a writer that is killed, each followed by a look at all that it had been promised."""

    def __init__(self, path, nursery, seed):
        self.path = path
        self.nursery = nursery
        self.chance = random.Random(seed)
        self.promised = {}
        """Where each model must be: among the models or in the trash."""
        self.counted = 0
        TinyDbRegistry(path).put("shared", lambda _old: make_model("shared", task="0"))

    def round(self, number):
        child = self.nursery.start("storage_writers:write_for_ever", str(self.path), f"k{number}")
        lines = [child.readline() for _ in range(self.chance.randint(0, 12))]
        for _ in range(self.chance.randint(0, 60_000)):
            pass  # up to the time of a write, so that it dies anywhere in one
        child.kill()
        lines += child.lines()
        for line in lines:
            kind, value = line.split()
            if kind == "shared":
                self.counted = int(value)
            else:
                self.promised[value] = kind
        self.check(len(lines))

    def check(self, acknowledged):
        store = TinyDbRegistry(self.path)
        models = {model.name for model in store.models()} - {"shared"}
        trash = {entry.name for entry in store.trash()}
        assert not models & trash
        written = [name for name, kind in self.promised.items() if kind == "put"]
        assert {name for name, kind in self.promised.items() if kind == "trash"} <= trash
        # The write under way may be there without having been acknowledged; nothing else may.
        assert set(written) - {written[-1] if written else ""} <= models
        assert set(written) <= models | trash
        unasked = (models | trash) - set(self.promised)
        assert len(unasked) <= 1
        self.promised |= dict.fromkeys(unasked, "put")
        count = int(store.find("shared").task)
        assert self.counted <= count <= self.counted + 1, acknowledged
        self.counted = count
        for name in trash & set(written):
            self.promised[name] = "trash"
        store.put("after", lambda old: old or make_model("after"))
        store.put("after", lambda _old: None)
        assert store.problem() is None
        assert not list(self.path.parent.rglob(f"{fs.TEMP_PREFIX}*"))


def test_a_hundred_killed_writers_lose_no_acknowledged_write(path, nursery):
    killer = Killer(path, nursery, seed=1)
    for number in range(100):
        killer.round(number)
    assert killer.counted > 100


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_killed_writers_lose_no_acknowledged_write(path, nursery):
    killer = Killer(path, nursery, seed=2)
    for number in range(1000):
        killer.round(number)
