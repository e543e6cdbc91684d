"""Rows of the catalog: models, and their versions beneath where they are unfolded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.catalog import ModelView
from quickserveml_tui.core.models import VersionRecord
from quickserveml_tui.core.text import cell_width
from quickserveml_tui.core.units import significant
from quickserveml_tui.tui.glyphs import Glyphs
from quickserveml_tui.tui.sheets.rows import ALIAS_ROLES, trial_sign
from quickserveml_tui.tui.widgets.table_cells import GAP, Cell, CellLike, Column

COLUMNS = (
    Column("name", "model", kind="name", flex=1, min_width=10),
    Column("alias", "alias", width=5, drop=1, sortable=False),
    Column("p50", "p50 ms", width=7, align="decimal", kind="number"),
)


LEAST_ALIAS = 5
"""Cells that an alias keeps where names are long: `prod`, `stag…`."""
LEAST_NAME = 20
"""Cells for names below which aliases leave."""
MAX_ALIAS = 10
"""Cells that an alias may take; names need the rest."""


def fitting_columns(rows: Sequence[Mapping[str, CellLike]], room: int = 0) -> tuple[Column, ...]:
    """The columns with no more for aliases than they need, and than the names leave of `room` cells where it is known.

    Where names would be short of cells even so, aliases leave; so they do where there are none.
    """
    words = [cell.value for row in rows if isinstance(cell := row["alias"], Cell) and isinstance(cell.value, str)]
    widest = max((cell_width(word) for word in words), default=0)
    if not widest:
        return tuple(column for column in COLUMNS if column.key != "alias")
    width = min(max(widest, cell_width("alias")), MAX_ALIAS)
    if room:
        names = [cell for row in rows if isinstance(cell := row["name"], Cell)]
        longest = max((cell_width(f"{cell.value}{cell.suffix}") for cell in names), default=0)
        others = sum(GAP + (column.width or 0) for column in COLUMNS if column.key not in ("name", "alias"))
        left = room - others - GAP
        width = max(min(width, left - longest), LEAST_ALIAS)
        if left - width < min(longest, LEAST_NAME):
            return tuple(column for column in COLUMNS if column.key != "alias")
    return tuple(replace(column, width=width) if column.key == "alias" else column for column in COLUMNS)


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """One row: a model at its latest version, or one of its versions."""

    view: ModelView
    version: VersionRecord
    nested: bool

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.view.model.name}@{self.version.version}"

    @property
    def key(self) -> str:
        """Identity over refreshes; a model's own row keeps its place when a version is added."""
        return self.ref if self.nested else self.view.model.name


def visible_rows(views: Iterable[ModelView], unfolded: set[str]) -> list[CatalogRow]:
    """A row for each model that has a version, and one for each older version of those that are unfolded."""
    rows: list[CatalogRow] = []
    for view in views:
        latest = view.model.latest
        if latest is None:
            continue
        rows.append(CatalogRow(view, latest, nested=False))
        if view.model.name in unfolded:
            rows += [CatalogRow(view, version, nested=True) for version in reversed(view.model.versions[:-1])]
    return rows


def index_of(rows: Sequence[CatalogRow], wanted: str) -> int:
    """Where a key or reference stands, else its model, else the first row."""
    keys = [row.key for row in rows]
    refs = [row.ref for row in rows]
    for names, name in ((keys, wanted), (refs, wanted), (keys, wanted.partition("@")[0])):
        if name in names:
            return names.index(name)
    return 0


_FOREMOST = {"prod": 0, "staging": 1}


def alias_words(row: CatalogRow) -> str:
    """Aliases in the order of what they mean to others: `prod staging`, or `prod@2 +1` where there are many.

    The row of a model tells all of them, with the version where that is an older one; the row of an older version tells
    its own.
    """
    number, aliases = row.version.version, row.view.model.aliases
    shown = [name for name in aliases if not row.nested or aliases[name] == number]
    shown.sort(key=lambda name: (_FOREMOST.get(name, 2), aliases[name] != number, name))
    words = [name if aliases[name] == number else f"{name}@{aliases[name]}" for name in shown]
    text = " ".join(words)
    return text if cell_width(text) <= MAX_ALIAS or len(words) < 2 else f"{words[0]} +{len(words) - 1}"


def table_row(row: CatalogRow, glyphs: Glyphs) -> dict[str, CellLike]:
    """The cells of a row: name and version, aliases, p50."""
    number = row.version.version
    aliases = row.view.model.aliases_of(number)
    alias = alias_words(row) if row.version.runnable or aliases else ""
    p50 = row.view.p50_ms(number)
    sign, role = trial_sign(row.version.trial, glyphs)[::2]
    note = "" if row.version.runnable else f" {sign}"
    if not row.version.runnable and not alias:  # an alias says more, and the sign and the shelf are there too
        alias = "held" if row.version.trial.quarantined else "fails"
    if row.nested:
        state = row.version.label or row.version.state.value
        name = Cell(f"  @{number}", role=Role.MUTED, suffix=f"  {state}{note}")
    else:
        name = Cell(row.view.model.name, suffix=f" @{number}{note}")
    foremost = alias.partition(" ")[0].partition("@")[0]
    return {
        "_key": row.key,
        "name": name,
        "alias": Cell(alias, role=ALIAS_ROLES.get(foremost, Role.MUTED) if row.version.runnable or aliases else role),
        "p50": Cell(p50, text=significant(p50) if p50 is not None else ""),
    }
