"""docs/errors.md names every code that the sources raise, with what it says and what to do."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "errors.md"
ROW = re.compile(r"^\| `(?P<code>[a-z_.]+)` \| (?P<message>.*?) \| (?P<hint>.*?) \| (?P<exit>\d*) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_error_docs", ROOT / "scripts" / "make_error_docs.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows():
    return {match["code"]: match for match in ROW.finditer(PAGE.read_text(encoding="utf-8"))}


def test_the_page_of_errors_is_not_stale(maker):
    assert PAGE.read_text(encoding="utf-8") == maker.page(), "run python scripts/make_error_docs.py"


def test_every_code_in_the_sources_is_on_the_page(rows):
    spelled = re.compile(r"""(?:code=|default_code = )"([a-z_]+(?:\.[a-z_]+)*)\"""")
    codes = {
        code for path in (ROOT / "quickserveml_tui").rglob("*.py") for code in spelled.findall(path.read_text("utf-8"))
    }
    from quickserveml_tui.runtime.ort_errors import ALL_RUN_CAUSES, LOAD_CAUSES

    codes |= {item.code for item in (*LOAD_CAUSES, *ALL_RUN_CAUSES)}
    assert len(codes) > 150
    assert sorted(codes - rows.keys()) == []


def test_every_code_says_what_and_what_to_do(rows):
    assert [code for code, row in rows.items() if not (row["message"].strip() and row["hint"].strip())] == []


def test_the_codes_that_a_user_can_act_on_have_the_exit_code_of_their_kind(rows):
    assert {rows[code]["exit"] for code in ("model.unknown_operator", "data.shape", "model.not_found")} == {"3"}
    assert rows["usage.path"]["exit"] == "2"
    assert rows["runtime.timeout"]["exit"] == "6"
    assert rows["store.locked"]["exit"] == "4"


def test_nothing_is_said_of_codes_that_are_not_raised(maker):
    assert sorted(set(maker.SAID) - maker.entries().keys()) == []
