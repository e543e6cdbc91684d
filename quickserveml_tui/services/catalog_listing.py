"""Filter, sort, page and complete the catalog."""

from __future__ import annotations

from collections.abc import Callable

from quickserveml_tui.core.catalog import CatalogPage, CatalogQuery, Completion, ModelView
from quickserveml_tui.core.errors import StoreError
from quickserveml_tui.core.filters import build
from quickserveml_tui.core.filters.complete import complete_filter
from quickserveml_tui.core.heads import ModelHead
from quickserveml_tui.core.stores import RegistryStore, StateStore
from quickserveml_tui.services.catalog_fields import CATALOG_FIELDS, FIGURES
from quickserveml_tui.services.catalog_pages import check_limit, read_order, take_page
from quickserveml_tui.services.catalog_rows import Row, Rows
from quickserveml_tui.services.catalog_values import KnownValues
from quickserveml_tui.services.decoration import RunDecoration

EVERYTHING = CatalogQuery()


class CatalogListing:
    """Questions to a registry and the benchmarks of a state database, answered from heads.

    Full records are read for the models of a page only. May be used by several threads at once.
    """

    def __init__(self, registry: RegistryStore, state: StateStore, decoration: RunDecoration | None = None) -> None:
        self._registry = registry
        self._runs = decoration or RunDecoration(state)
        self._rows = Rows(registry, state)
        self._values = KnownValues(self._rows)

    def list_models(
        self, query: CatalogQuery = EVERYTHING, *, visible: Callable[[str], bool] | None = None
    ) -> CatalogPage:
        """Models that match, sorted, with the newest benchmark of each version; only those that `visible` lets pass.

        Raises `FilterError` for the filter, `UsageError` for an order, limit or page token that is not valid.
        While the state database cannot be read there are no benchmarks; a filter or order that needs them raises
        `StoreError`.
        """
        check_limit(query.limit)
        order = read_order(query.sort)
        found = self._find(query.text, with_figures=order.column.needs_figures)
        if visible is not None:
            found = [row for row in found if visible(row.head.name)]
        shown, token = take_page(found, query, order)
        return CatalogPage(self._views(shown), token, total=len(found))

    def match(self, text: str) -> tuple[ModelHead, ...]:
        """The models that a filter finds, by name; all of them for an empty one. Raises `FilterError`."""
        return tuple(row.head for row in self._find(text))

    def check(self, text: str) -> None:
        """Raises `FilterError` with the column when the filter cannot be read."""
        build.check_filter(text, CATALOG_FIELDS)

    def complete(self, text: str, cursor: int) -> tuple[Completion, ...]:
        """Ways to go on with a filter at the cursor, best first; at most 50, none while a store cannot be read."""
        try:
            return complete_filter(text, cursor, CATALOG_FIELDS, self._values)
        except StoreError:
            return ()

    def _find(self, text: str, *, with_figures: bool = False) -> list[Row]:
        built = build.build_filter(text, CATALOG_FIELDS)
        rows = self._rows.choose(with_figures=with_figures or FIGURES in built.sources)
        return list(filter(built.matches, rows)) if text else list(rows)

    def _views(self, rows: list[Row]) -> tuple[ModelView, ...]:
        if not rows:
            return ()
        benchmarks = self._runs.newest_benchmarks([row.head.id for row in rows])
        # One that was deleted since its head was read is left out.
        models = (self._registry.find(row.head.id) for row in rows)
        return tuple(ModelView(model, benchmarks.get(model.id, {})) for model in models if model is not None)
