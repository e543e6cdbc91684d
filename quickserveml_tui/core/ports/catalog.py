"""Find, add and change models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from quickserveml_tui.core.catalog import (
    AddRequest,
    AddResult,
    BulkAction,
    BulkReport,
    CatalogPage,
    CatalogQuery,
    Completion,
    Deletion,
    ModelView,
    Resolved,
    ScanHit,
)
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken, ProgressSink, ignore_progress
from quickserveml_tui.core.models import MetadataPatch, ModelRecord, TrashEntry


class CatalogPort(Protocol):
    """Find, add and change models."""

    def generation(self) -> str:
        """A token that changes when the catalog or a saved benchmark does."""
        ...

    def list_models(self, query: CatalogQuery = ..., *, visible: Callable[[str], bool] | None = None) -> CatalogPage:
        """Models that match, sorted; with `visible`, only those whose names it lets pass."""
        ...

    def show(self, ref: str) -> ModelView:
        """One model by name or reference. Raises `NotFoundError` with the nearest names as hint."""
        ...

    def resolve(
        self,
        ref: str,
        *,
        runnable: bool = False,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> Resolved:
        """What a reference or path stands for.

        With `runnable`, raises `ModelUnrunnableError` for a registered version whose trial failed; one that was tried
        with another runtime is tried again first, which can be cancelled (`CancelledError`). A path is not tried: ask
        `InspectPort.trial` before it is opened outside a runner.
        """
        ...

    def retry(self, ref: str, *, cancel: CancelToken | None = None) -> ModelView:
        """Try a registered version again, with its saved overrides, and keep the report."""
        ...

    def set_feed(self, ref: str, feed: FeedSpec, *, cancel: CancelToken | None = None) -> ModelRecord:
        """Keep overrides for synthetic inputs with a version; an empty `FeedSpec` takes them away.

        Raises `UsageError` (`usage.override`) for an override that names nothing or does not fit, and `CancelledError`;
        nothing is kept then.
        """
        ...

    def add(
        self, request: AddRequest, *, on_progress: ProgressSink = ignore_progress, cancel: CancelToken | None = None
    ) -> AddResult:
        """Add a file as a new model or as the next version. Raises `ModelError` when it is rejected."""
        ...

    def scan(self, folder: str, *, cancel: CancelToken | None = None) -> Iterator[ScanHit]:
        """Model files below a folder, without following links."""
        ...

    def update(self, ref: str, patch: MetadataPatch) -> ModelRecord:
        """Change metadata; label, state and notes go to the version that the reference names."""
        ...

    def revise(self, ref: str, action: BulkAction, *, expected_rev: int | None = None) -> ModelRecord:
        """Make all changes of an action to one model in one transaction; not to delete it.

        Here and below, `expected_rev` is the revision that the caller saw: `PreconditionError` when it is another one.
        """
        ...

    def tag(self, name: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> ModelRecord:
        """Add and remove tags."""
        ...

    def set_alias(self, ref: str, alias: str, *, expected_rev: int | None = None, checked: bool = False) -> ModelRecord:
        """Point an alias at the version that the reference names.

        With `checked` also one that is not protected only at a version that runs and gives its golden outputs.
        """
        ...

    def remove_alias(
        self, name: str, alias: str, *, force: bool = False, expected_rev: int | None = None
    ) -> ModelRecord:
        """Take an alias away; a protected one (`ConflictError`) only by force."""
        ...

    def categorise(self, name: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> ModelRecord:
        """Add and remove categories."""
        ...

    def protect_alias(self, name: str, alias: str, *, protected: bool = True) -> ModelRecord:
        """Protect an alias like `prod`, or no longer."""
        ...

    def delete(self, ref: str, *, force: bool = False, expected_rev: int | None = None) -> Deletion:
        """Move a version, or the whole model when the reference names none, to the trash.

        Refused (`ConflictError`) while a protected alias points at it, unless forced.
        """
        ...

    def trash(self) -> tuple[TrashEntry, ...]:
        """What was deleted and can be restored, newest first."""
        ...

    def restore(self, what: str, *, name: str = "") -> ModelRecord:
        """Bring back from the trash: by trash id, or the newest entry titled `name` or `name@version`.

        Raises `NotFoundError` (`trash.not_found`), `ConflictError` (`name.taken`: give another `name`).
        """
        ...

    def purge(
        self, what: Sequence[str] = (), *, older_than_s: float = 0.0, dry_run: bool = False
    ) -> tuple[TrashEntry, ...]:
        """Forget trash entries for good: these (ids or titles), or all that are older; returns them."""
        ...

    def bulk(self, selection: Sequence[str] | str, action: BulkAction, *, dry_run: bool = False) -> BulkReport:
        """Change many models in one transaction: those that references name, or that a filter (a string) finds."""
        ...

    def complete_filter(self, text: str, cursor: int) -> tuple[Completion, ...]:
        """Ways to go on with a filter at the cursor, best first; at most 50."""
        ...

    def check_filter(self, text: str) -> None:
        """Raises `FilterError` with the column when the filter cannot be read."""
        ...
