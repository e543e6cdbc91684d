"""The values that the catalog holds, for completion: most frequent first."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

from quickserveml_tui.core.filters.fields import Kind
from quickserveml_tui.services.catalog_fields import CATALOG_FIELDS, CatalogField
from quickserveml_tui.services.catalog_rows import Row, Rows

MAX_KEPT = 64
"""Fields whose values are kept: more than there are, as metadata keys are free."""
MAX_VALUE_CHARS = 200
_WORDED = (Kind.TEXT, Kind.CHOICE, Kind.ANY)
_WORD_FIELDS = ("name", "tag", "category", "alias", "op")


class KnownValues:
    """Values by field, counted when first asked for and kept until the catalog changes."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._lock = threading.Lock()
        self._counted_for: Sequence[Row] = ()
        self._known: dict[str, tuple[str, ...]] = {}

    def of(self, field: CatalogField) -> tuple[str, ...]:
        """Values of a text field, most frequent first; none for a field whose values are not offered."""
        if not field.suggests or field.kind not in _WORDED:
            return ()
        return self._kept(field.name, field)

    def keys(self, family: str) -> tuple[str, ...]:
        """Keys of `meta`, most frequent first."""
        return self._kept("meta.", None) if family in CATALOG_FIELDS.families else ()

    def words(self) -> tuple[str, ...]:
        """Names of fields whose values serve as bare words."""
        return _WORD_FIELDS

    def _kept(self, name: str, field: CatalogField | None) -> tuple[str, ...]:
        rows = self._rows.plain()
        with self._lock:
            if rows is not self._counted_for:
                self._counted_for, self._known = rows, {}
            known = self._known.get(name)
        if known is None:
            known = _counted(rows, field)
            with self._lock:
                if rows is self._counted_for and len(self._known) < MAX_KEPT:
                    self._known[name] = known
        return known


def _counted(rows: Sequence[Row], field: CatalogField | None) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    if field is None:
        for row in rows:
            latest = row.head.latest
            counts.update(row.head.metadata.keys() | (latest.metadata.keys() if latest is not None else ()))
    elif field.many:
        for row in rows:
            counts.update(set(field.get(row)))
    else:
        counts.update(value for row in rows if (value := field.get(row)) is not None)
    # What hides or reorders text would show as something else than it inserts.
    kept = (item for item in counts.items() if len(item[0]) <= MAX_VALUE_CHARS and item[0].isprintable())
    return tuple(value for value, _count in sorted(kept, key=lambda item: (-item[1], item[0])))
