"""What the children of the process tests do to a registry."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from pathlib import Path

from storage_linear import Seen

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ConflictError
from quickserveml_tui.core.models import ModelRecord, TrashEntry, TrashKind
from quickserveml_tui.storage.registry import TinyDbRegistry

NAMES = ("m0", "m1", "m2", "m3")
READS = frozenset({"find", "heads"})


def small_model(name):
    return ModelRecord(f"id-{name}", name, "t", "t", author="0")


def entry_of(model):
    return TrashEntry(f"trash-{model.id}", TrashKind.MODEL, model.id, model.name, utc_now(), model=model)


def move_to_trash(edit, name):
    """Delete a model in a transaction; returns whether it was there."""
    old = edit.find(name)
    if old is not None:
        edit.remove(old.id)
        edit.put_trash(entry_of(old))
    return old is not None


def restore(edit, name):
    """Take a model out of the trash in a transaction; returns its new rev, or None."""
    for entry in edit.trash():
        if entry.name == name:
            edit.remove_trash(entry.id)
            return edit.put(entry.model).rev
    return None


# ---- until it is killed


def write_for_ever(say, path, worker):
    """Add models, count in a shared one, and delete every third one; says each write when it is acknowledged."""
    store = TinyDbRegistry(Path(path), lock_timeout_s=60)
    for number in range(1_000_000):
        name = f"{worker}-{number}"
        store.put(name, lambda _old, name=name: small_model(name))
        say(f"put {name}")
        shared = store.put("shared", lambda old: replace(old, task=str(int(old.task) + 1)))
        say(f"shared {shared.task}")
        if number % 3 == 2:
            store.edit(lambda edit, name=name: move_to_trash(edit, name))
            say(f"trash {name}")


# ---- mixed operations, to be checked for an order


def mixed_operations(say, path, worker, count):
    """Do `count` operations of all kinds and say what each one asked and saw, and when."""
    chance = random.Random(worker)
    store = TinyDbRegistry(Path(path), lock_timeout_s=60)
    known = dict.fromkeys(NAMES, 1)
    kinds = ("write", "write if", "find", "heads", "transfer", "delete", "restore")
    for number in range(count):
        kind = chance.choices(kinds, (28, 12, 25, 12, 12, 4, 7))[0]
        names = tuple(chance.sample(NAMES, 2 if kind == "transfer" else 1)) if kind != "heads" else NAMES
        asked = {"write": f"{worker}-{number}", "write if": [known[names[0]], f"{worker}-{number}"]}.get(kind)
        start = time.monotonic_ns()
        result = _OPERATIONS[kind](store, names, asked)
        end = time.monotonic_ns()
        if kind == "find" and result is not None:
            known[names[0]] = result[0]
        say(json.dumps([kind, names, asked, result, start, end]))


def _write(store, names, asked):
    record = store.put(names[0], lambda old: old and replace(old, task=asked))
    return record and record.rev


def _write_if(store, names, asked):
    rev, value = asked
    try:
        record = store.put(names[0], lambda old: old and replace(old, task=value), expected_rev=rev)
    except ConflictError:
        return None
    return record and record.rev


def _find(store, names, _asked):
    record = store.find(names[0])
    return record and [record.rev, record.task, record.author]


def _heads(store, _names, _asked):
    return [[head.name, head.rev, head.task, head.author] for head in store.heads() if head.name in NAMES]


def _transfer(store, names, _asked):
    def work(edit):
        source, target = edit.find(names[0]), edit.find(names[1])
        if source is None or target is None:
            return None
        written = edit.put(replace(source, author=str(int(source.author) - 1)))
        return [written.rev, edit.put(replace(target, author=str(int(target.author) + 1))).rev]

    return store.edit(work)


_OPERATIONS = {
    "write": _write,
    "write if": _write_if,
    "find": _find,
    "heads": _heads,
    "transfer": _transfer,
    "delete": lambda store, names, _asked: store.edit(lambda edit: move_to_trash(edit, names[0])),
    "restore": lambda store, names, _asked: store.edit(lambda edit: restore(edit, names[0])),
}


# ---- the sequential store that explains what they saw

INITIAL = tuple((name, True, 1, "", "0") for name in NAMES)
"""Name, whether it is there (else in the trash), rev, task, author."""


def apply(state, seen):
    """The state after an operation; None where it cannot have seen what it saw."""
    rows = {row[0]: row for row in state}
    if seen.kind == "heads":
        return (
            state if [[n, rev, task, author] for n, here, rev, task, author in state if here] == seen.result else None
        )
    name, here, rev, task, author = rows[seen.names[0]]
    if seen.kind == "find":
        return state if seen.result == ([rev, task, author] if here else None) else None
    if seen.kind == "write":
        result, row = (rev + 1, (name, True, rev + 1, seen.asked, author)) if here else (None, rows[name])
    elif seen.kind == "write if":
        fits = here and rev == seen.asked[0]
        result, row = (rev + 1, (name, True, rev + 1, seen.asked[1], author)) if fits else (None, rows[name])
    elif seen.kind == "delete":
        result, row = here, (name, False, rev, task, author)
    elif seen.kind == "restore":
        result, row = (None, rows[name]) if here else (rev + 1, (name, True, rev + 1, task, author))
    else:
        return _apply_transfer(rows, seen)
    rows[name] = row
    return tuple(rows.values()) if result == seen.result else None


def _apply_transfer(rows, seen):
    (source, here, rev, task, author), (target, there, other_rev, other_task, other_author) = map(
        rows.__getitem__, seen.names
    )
    if not (here and there):
        return tuple(rows.values()) if seen.result is None else None
    rows[source] = (source, True, rev + 1, task, str(int(author) - 1))
    rows[target] = (target, True, other_rev + 1, other_task, str(int(other_author) + 1))
    return tuple(rows.values()) if seen.result == [rev + 1, other_rev + 1] else None


def read_history(lines):
    """What a child said, as operations."""
    return [
        Seen(kind, tuple(names), asked, result, start, end)
        for kind, names, asked, result, start, end in map(json.loads, lines)
    ]
