"""Understand a model: its facts, its schema, its layers."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, TypeAlias

from quickserveml_tui.core.compatibility import Compatibility, RuntimeLimits
from quickserveml_tui.core.facts import LayerPage, ModelFacts, ModelHeader
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import TrialReport
from quickserveml_tui.core.ports import CatalogPort
from quickserveml_tui.core.refs import PathRef, parse_ref
from quickserveml_tui.core.runners import RunnerPool
from quickserveml_tui.services.catalog_add import locate
from quickserveml_tui.services.catalog_lookup import longer_path, select_version
from quickserveml_tui.services.compatibility import LimitsService, compare

MAX_CACHED_ROWS = 100_000
MAX_CACHED_PAGES = 32
MAX_CACHED_HEADERS = 64

PageKey: TypeAlias = tuple[str, int, int]


class PageCache:
    """Layer pages by what they depend on, the least recently used ones dropped; safe to use from several threads."""

    def __init__(self, max_rows: int = MAX_CACHED_ROWS, max_pages: int = MAX_CACHED_PAGES) -> None:
        self._pages: OrderedDict[PageKey, LayerPage] = OrderedDict()
        self._max_rows, self._max_pages = max_rows, max_pages
        self._rows = 0
        self._lock = threading.Lock()

    def get(self, key: PageKey) -> LayerPage | None:
        """The page, if it is still there."""
        with self._lock:
            if key in self._pages:
                self._pages.move_to_end(key)
            return self._pages.get(key)

    def put(self, key: PageKey, page: LayerPage) -> None:
        """Keep a page."""
        if not key[0] or len(page.rows) > self._max_rows:
            return
        with self._lock:
            known = self._pages.pop(key, None)
            self._rows += len(page.rows) - (len(known.rows) if known else 0)
            self._pages[key] = page
            while self._rows > self._max_rows or len(self._pages) > self._max_pages:
                _, dropped = self._pages.popitem(last=False)
                self._rows -= len(dropped.rows)


class HeaderCache:
    """Headers by what they depend on, the least recently used ones dropped; safe to use from several threads."""

    def __init__(self, max_headers: int = MAX_CACHED_HEADERS) -> None:
        self._headers: OrderedDict[str, ModelHeader] = OrderedDict()
        self._max_headers = max_headers
        self._lock = threading.Lock()

    def get(self, key: str) -> ModelHeader | None:
        """The header, if it is still there."""
        with self._lock:
            if key in self._headers:
                self._headers.move_to_end(key)
            return self._headers.get(key)

    def put(self, key: str, header: ModelHeader) -> None:
        """Keep a header."""
        with self._lock:
            self._headers[key] = header
            if len(self._headers) > self._max_headers:
                self._headers.popitem(last=False)


class InspectService:
    """`InspectPort` on the catalog and warm runners."""

    def __init__(self, catalog: CatalogPort, runners: RunnerPool, limits: LimitsService | None = None) -> None:
        self._catalog = catalog
        self._runners = runners
        self._limits = limits
        self._pages = PageCache()
        self._headers = HeaderCache()

    def header(self, ref: str) -> ModelHeader:
        """What a model says at once. A file is not hashed for it, so that one of gigabytes takes milliseconds.

        Only headers of registered versions are kept: the data files beside a file may change. Raises as `facts` does.
        """
        parsed = parse_ref(ref)
        if isinstance(parsed, PathRef):
            return self._read_header(locate(str(longer_path(ref, parsed).path)))
        resolved = self._catalog.resolve(ref)
        header = self._headers.get(resolved.digest)
        if header is None:
            header = self._read_header(Path(resolved.path))
            self._headers.put(resolved.digest, header)
        return header

    def _read_header(self, path: Path) -> ModelHeader:
        with self._runners.borrow() as runner:
            return runner.read_header(path)

    def facts(self, ref: str) -> ModelFacts:
        """Facts of a model: a registered version's at once, a file's read in a runner.

        Raises `NotFoundError`, `ModelError`, and `RunnerError` for a file that breaks the runner.
        """
        resolved = self._catalog.resolve(ref)
        if resolved.version is not None:
            return resolved.version.facts
        with self._runners.borrow() as runner:
            return runner.read_facts(Path(resolved.path))

    def totals(self, ref: str) -> ModelFacts:
        """As `facts`, seven times as fast for a file of many nodes: without multiply-adds and the checker's finding."""
        resolved = self._catalog.resolve(ref)
        if resolved.version is not None:
            return resolved.version.facts
        with self._runners.borrow() as runner:
            return runner.read_totals(Path(resolved.path))

    def compatibility(self, ref: str) -> Compatibility:
        """The model's formats beside what the installed runtime takes, each mismatch with its remedy.

        A registered version is judged by its record: its file need not be there. Raises as `facts` does.
        """
        parsed = parse_ref(ref)
        if isinstance(parsed, PathRef):
            header = self.header(ref)
            return compare(header.ir_version, header.opsets, self._found_limits(), ref)
        model = self._catalog.show(ref).model
        version = select_version(model, parsed.selector)
        facts, canonical = version.facts, f"{model.name}@{version.version}"
        return compare(facts.ir_version, facts.opsets, self._found_limits(), canonical)

    def _found_limits(self) -> RuntimeLimits:
        if self._limits is not None:
            return self._limits.limits()
        with self._runners.borrow() as runner:
            return runner.limits()

    def schema(self, ref: str) -> dict[str, Any]:
        """JSON Schema of `request` and `response`, and an `example` request (None, with a `note`, where none fits)."""
        from quickserveml_tui.services.schema import model_schema

        return model_schema(self.facts(ref))

    def layers(self, ref: str, offset: int = 0, limit: int = 10_000, *, shapes: bool = True) -> LayerPage:
        """A part of the layer table, kept for the next time. Raises as `facts` does.

        Without `shapes` nothing waits for shape inference: rows have shapes and multiply-adds where
        `LayerPage.shapes` says so. A graph that does not hang together is refused only with them.
        """
        resolved = self._catalog.resolve(ref)
        key = (resolved.identity or resolved.digest, offset, limit)
        page = self._pages.get(key)
        if page is None:
            with self._runners.borrow() as runner:
                page = runner.read_layers(Path(resolved.path), offset, limit, shapes=shapes)
            if page.shapes:
                self._pages.put(key, page)
        return page

    def trial(self, ref: str, *, cancel: CancelToken | None = None) -> TrialReport:
        """Whether the model runs: a registered version's report, or a trial of a file, made now in a runner.

        Raises `NotFoundError`, and `ModelError` for a file that is no model or gone.
        """
        resolved = self._catalog.resolve(ref)
        if resolved.version is not None:
            return resolved.version.trial
        with self._runners.borrow() as runner:
            return runner.trial(Path(resolved.path), FeedSpec(), cancel=cancel)
