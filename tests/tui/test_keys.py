from __future__ import annotations

from pathlib import Path

from textual.binding import Binding

from quickserveml_tui.tui.key_owners import OWNERS, keys_page
from quickserveml_tui.tui.keys import bind, declared_entries, show_key
from quickserveml_tui.tui.screens.actions import fuzzy_rank

ROOT = Path(__file__).resolve().parents[2]


def test_the_document_of_keys_is_what_the_bindings_say() -> None:
    written = (ROOT / "docs" / "keys.md").read_text(encoding="utf-8")
    assert written == keys_page(), "run python scripts/make_keys.py"


def test_every_action_has_an_area_a_verb_and_a_sentence() -> None:
    for entry in declared_entries(OWNERS):
        area, _, rest = entry.id.partition(".")
        assert area, entry.id
        assert "_" in rest or rest == "interrupt" or area in ("table", "dialog"), entry.id
        assert entry.about, entry.id
        assert not entry.about.endswith("."), entry.id


def test_no_class_binds_one_key_twice() -> None:
    for owner in OWNERS:
        keys = [binding.key for binding in Binding.make_bindings(owner.__dict__.get("BINDINGS", ()))]
        assert len(keys) == len(set(keys)), owner


def test_cancel_is_the_only_meaning_of_x() -> None:
    assert {entry.id for entry in declared_entries(OWNERS) if "x" in entry.keys} == {"jobs.cancel_job"}


def test_keys_are_written_as_people_write_them() -> None:
    assert [show_key(key) for key in ("question_mark", "ctrl+p", "left_square_bracket", "G", "escape", "shift+tab")] == [
        "?", "ctrl+p", "[", "G", "esc", "shift+tab",
    ]  # fmt: skip


def test_a_binding_keeps_its_id_and_sentence() -> None:
    binding = bind("b", "run", "run", "benchmark.run_model", "Measure it", display="b")
    assert (binding.id, binding.tooltip, binding.key_display) == ("benchmark.run_model", "Measure it", "b")


def test_search_ranks_words_before_letters() -> None:
    assert fuzzy_rank("run model", "Benchmark: run model") == 0
    assert fuzzy_rank("model run", "Benchmark: run model") == 1
    assert fuzzy_rank("brm", "Benchmark: run model") == 2
    assert fuzzy_rank("zzz", "Benchmark: run model") is None
