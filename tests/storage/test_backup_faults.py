"""A fault or a kill at any file call of backup, prune and restore: the home is old or new, older generations are whole."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from backup_homes import MODULES, Home
from storage_faults import break_os
from storage_kills import Nursery

from quickserveml_tui.core.errors import QuickServeError

MIXED = (errno.EIO, errno.ENOSPC, errno.EINTR)
"""Errors that take turns: every call fails in one way or another; the slow tests try each error at each call."""
EVERY = [pytest.param(error, marks=pytest.mark.slow, id=errno.errorcode[error]) for error in (*MIXED, errno.EACCES)]
WAYS = [pytest.param(None, id="mixed"), pytest.param("short", id="short"), *EVERY]
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """A folder in memory where there is one: hundreds of homes are copied, and nothing here tests the disk."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path_factory.mktemp("homes")
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def stocked(memory):
    """A home with two models and a folder with two generations: one model, then two."""
    root = memory / "stocked"
    home = Home(root / "home")
    home.add("a")
    home.backups.create(str(root / "backups"))
    home.add("b")
    home.backups.create(str(root / "backups"))
    return root


@pytest.fixture
def copies(stocked, memory):
    def copy():
        root = memory / f"copy{next(NUMBERS)}"
        shutil.copytree(stocked, root, symlinks=True)
        return root

    return copy


def check_generations(home, folder, least):
    """Every visible generation is whole but for what the home could not give it, and at least so many are there."""
    infos = home.backups.verify(str(folder))
    assert [text for info in infos for text in info.problems if not text.endswith("in the home.")] == []
    assert len(infos) >= least
    return infos


def check_says_why(error):
    assert error.message.endswith(".")
    assert error.hint
    assert "/" not in error.message, "errors name no path"


def every_call(monkeypatch, attempt, error, *, step=1):
    """Run `attempt(faulty)` with a fault at call 1, 2, 3, … until no call is left to break; returns how many were."""
    for fail_at in range(1, 1000, step):
        with monkeypatch.context() as patch:
            kind = error or MIXED[fail_at % len(MIXED)]
            faulty = break_os(patch, MODULES, fail_at=fail_at, error=kind, capacity=50)
            faulty.is_armed = False
            attempt(faulty)
        if not faulty.has_fired:
            return fail_at
    raise AssertionError("the operation makes no end of calls")


def attempt_backup(root, faulty):
    """A backup with a fault; afterwards everything is whole, and the next backup takes away what was left."""
    home, folder = Home(root / "home"), root / "backups"
    home.add("c")
    before = home.digest()
    faulty.is_armed = True
    try:
        made = home.backups.create(str(folder), keep=2)
    except QuickServeError as refused:  # and nothing else
        check_says_why(refused)
        made = None
    faulty.is_armed = False
    check_after_backup(home, folder, before, made and made.id)
    shutil.rmtree(root)


def check_after_backup(home, folder, before, made):
    home.check_whole()
    assert home.digest() == before
    infos = check_generations(home, folder, 2)
    if made:
        assert (infos[0].id, infos[0].content_digest) == (made, before)
    again = home.backups.create(str(folder), keep=1)
    assert again.problems == ()
    assert [info.id for info in check_generations(home, folder, 1)] == [again.id]
    assert [entry.name for entry in (folder / "generations").iterdir()] == [again.id]
    assert not list(folder.rglob(".tmp-*"))


def attempt_restore(root, faulty, oldest):
    """A restore with a fault; afterwards the home is the old or the new one, and restoring it works."""
    home, folder = prepare_restore(root)
    before = home.digest()
    faulty.is_armed = True
    try:
        restored = home.backups.restore(str(folder), at=oldest.id)
    except QuickServeError as refused:
        check_says_why(refused)
        restored = None
    faulty.is_armed = False
    check_after_restore(root / "home", folder, before, oldest, is_done=restored is not None)
    shutil.rmtree(root)


def prepare_restore(root):
    home = Home(root / "home")
    shutil.rmtree(root / "home" / "blobs" / "sha256")  # so that blobs must be brought
    home.add("b2")
    return home, root / "backups"


def check_after_restore(path, folder, before, oldest, *, is_done):
    home = Home(path)
    now = home.digest()
    assert now in ((oldest.content_digest,) if is_done else (before, oldest.content_digest))
    if now == oldest.content_digest:
        home.check_whole()
    infos = check_generations(home, folder, 2)
    if is_done:
        assert before in {info.content_digest for info in infos}, "what the home held is kept"
    home.backups.restore(str(folder), at=oldest.id)
    assert home.digest() == oldest.content_digest
    home.check_whole()
    assert not [entry.name for entry in path.iterdir() if entry.name.startswith((".restore", "restore.json", ".tmp"))]
    home.add("later")


@pytest.fixture(scope="module")
def oldest(stocked):
    """The generation with one model."""
    return Home(stocked / "home").backups.list(str(stocked / "backups"))[-1]


@pytest.mark.parametrize("error", WAYS)
def test_a_fault_at_any_call_of_a_backup_leaves_the_home_and_every_generation_whole(copies, monkeypatch, error):
    assert every_call(monkeypatch, lambda faulty: attempt_backup(copies(), faulty), error) >= 60


@pytest.mark.parametrize("error", WAYS)
def test_a_fault_at_any_call_of_a_restore_leaves_the_old_or_the_new_home(copies, oldest, monkeypatch, error):
    step = 3 if error == "short" else 1
    assert every_call(monkeypatch, lambda faulty: attempt_restore(copies(), faulty, oldest), error, step=step) >= 80


@pytest.fixture(scope="module")
def nursery():
    with Nursery("backup_homes") as started:
        yield started


def killed_at(nursery, function, *args):
    """Whether the child was killed before it was done."""
    lines = nursery.start(f"backup_homes:{function}", *map(str, args[:2]), *args[2:]).lines()
    return not lines


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_any_call_of_a_backup_leaves_the_home_and_every_generation_whole(copies, nursery, step):
    for fail_at in itertools.count(1, step):
        root = copies()
        home = Home(root / "home")
        home.add("c")
        was_killed = killed_at(nursery, "back_up", root / "home", root / "backups", fail_at, 2)
        check_after_backup(Home(root / "home"), root / "backups", home.digest(), None)
        shutil.rmtree(root)
        if not was_killed:
            break
    assert fail_at >= 80


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_any_call_of_a_restore_leaves_the_old_or_the_new_home(copies, nursery, oldest, step):
    outcomes = set()
    for fail_at in itertools.count(1, step):
        root = copies()
        home, folder = prepare_restore(root)
        before = home.digest()
        was_killed = killed_at(nursery, "restore", root / "home", folder, fail_at, oldest.id)
        outcomes.add(Home(root / "home").digest() == before)
        check_after_restore(root / "home", folder, before, oldest, is_done=not was_killed)
        shutil.rmtree(root)
        if not was_killed:
            break
    assert fail_at >= 100
    assert outcomes == {True, False}


def test_what_is_written_while_a_restore_runs_is_in_the_home_or_in_a_generation(copies, nursery, oldest):
    root = copies()
    home, folder = Home(root / "home"), str(root / "backups")
    acknowledged = []
    for number in range(4):
        child = nursery.start("backup_homes:write_for_ever", str(root / "home"), number * 10_000)
        acknowledged += [child.readline() for _ in range(3)]
        home.backups.restore(folder, at=oldest.id)
        acknowledged += [child.readline() for _ in range(2)]
        child.kill()
        acknowledged += child.lines()
    known = {head.name for head in Home(root / "home").registry.heads()}
    for info in home.backups.verify(folder):
        assert info.problems == ()
        kept = Home(root / "probe")
        kept.backups.restore(folder, at=info.id)
        known |= {head.name for head in kept.registry.heads()}
        kept.check_whole()
        shutil.rmtree(root / "probe")
    assert set(acknowledged) - known == set()
    assert len(acknowledged) > 20
