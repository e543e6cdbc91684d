"""The page of filters and the help of `list` say what the tables of fields and orders hold."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from quickserveml_tui.core.filters import syntax
from quickserveml_tui.core.filters.build import build_filter
from quickserveml_tui.services.catalog_fields import CATALOG_FIELDS, GROUPS
from quickserveml_tui.services.catalog_pages import SORTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "filters.md").read_text(encoding="utf-8")


def test_the_table_of_fields_is_not_stale():
    script = ROOT / "scripts" / "make_filter_docs.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_field_stands_in_one_group():
    grouped = [field.name for _title, fields in GROUPS for field in fields if field.name != "meta.KEY"]
    assert sorted(grouped) == sorted(field.name for field in CATALOG_FIELDS.fields)


def test_no_name_of_a_field_is_taken_twice():
    names = [name for field in CATALOG_FIELDS.fields for name in (field.name, *field.names)]
    assert len(names) == len(set(names))


def test_every_filter_of_the_page_can_be_read():
    filters = re.findall(r"--filter '([^']+)'", PAGE)
    assert len(filters) >= 5
    for text in filters:
        build_filter(text, CATALOG_FIELDS)


def test_the_page_and_the_help_name_every_order_and_limit():
    from quickserveml_tui.cli.app import load_command
    from quickserveml_tui.cli.commands import COMMANDS

    options = {parameter.name: parameter for parameter in load_command(COMMANDS["list"]).params}
    for name in SORTS:
        assert f"`{name}`" in PAGE.partition("## Order")[2]
        assert re.search(rf"\b{name}\b", options["sort"].help)
    for limit in (syntax.MAX_CHARS, syntax.MAX_TERMS, syntax.MAX_DEPTH, syntax.MAX_LIST):
        assert f"{limit:,} " in PAGE.partition("## Errors")[2]
