"""Find, add and change models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

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
from quickserveml_tui.core.errors import ModelError, StoreError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken, ProgressSink, ignore_progress
from quickserveml_tui.core.models import MetadataPatch, ModelRecord, TrashEntry, TrialOutcome, VersionRecord
from quickserveml_tui.core.refs import PathRef, check_alias, check_name, name_from_path, parse_ref
from quickserveml_tui.core.runners import RunnerPool
from quickserveml_tui.core.stores import ArtifactStore, RegistryEdit, RegistryStore, StateStore
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services import catalog_aliases as aliases
from quickserveml_tui.services import catalog_edit as edits
from quickserveml_tui.services.catalog_add import Intake, locate, take_in
from quickserveml_tui.services.catalog_bulk import changed, check_action, run_bulk, targets_of
from quickserveml_tui.services.catalog_listing import EVERYTHING, CatalogListing
from quickserveml_tui.services.catalog_lookup import (
    Find,
    check_rev,
    longer_path,
    registered,
    select_version,
    unknown_model,
    unrunnable,
    version_with,
    without_node,
)
from quickserveml_tui.services.catalog_register import check_promotable, check_request, gets_report, register
from quickserveml_tui.services.catalog_retry import CatalogTrials
from quickserveml_tui.services.catalog_scan import KnownFiles, check_folder, scan
from quickserveml_tui.services.catalog_trash import CatalogTrash
from quickserveml_tui.services.decoration import RunDecoration
from quickserveml_tui.services.golden_gate import GoldenGate
from quickserveml_tui.services.golden_promotion import Promotion
from quickserveml_tui.storage.artifacts import file_digest

MAX_DIGESTS = 256


def _state_of(path: Path) -> tuple[str, int, int, int]:
    """Tells a file and its states from others. Raises `ModelError` (`model.missing`)."""
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(f"{safe_text(path.name, 80)} is gone.", code="model.missing") from error
    return str(path), status.st_ino, status.st_size, status.st_mtime_ns


class CatalogService:
    """`CatalogPort` on a registry, an artifact store and a state database; without the last there are no figures."""

    def __init__(
        self,
        registry: RegistryStore,
        artifacts: ArtifactStore,
        state: StateStore,
        runners: RunnerPool,
        decoration: RunDecoration | None = None,
        *,
        gate: GoldenGate | None = None,
    ) -> None:
        self._registry = registry
        self._artifacts = artifacts
        self._runs = decoration or RunDecoration(state)
        self._runners = runners
        self._gate = gate or GoldenGate(artifacts, runners)
        self._listing = CatalogListing(registry, state, self._runs)
        self._trash = CatalogTrash(registry, artifacts)
        self._trials = CatalogTrials(registry, runners, self._open, self._gate)
        self._lock = threading.Lock()
        self._digests: dict[tuple[str, int, int, int], str] = {}

    # ---- finding --------------------------------------------------------------------------------------------------

    def generation(self) -> str:
        """A token that changes when the catalog or a saved benchmark does."""
        return f"{self._registry.generation()}/{self._runs.generation()}"

    def list_models(
        self, query: CatalogQuery = EVERYTHING, *, visible: Callable[[str], bool] | None = None
    ) -> CatalogPage:
        """Models that match, sorted; with `visible`, only those whose names it lets pass.

        Raises `FilterError` for the filter, `UsageError` for an order, limit or page token that is not valid.
        """
        return self._listing.list_models(query, visible=visible)

    def show(self, ref: str) -> ModelView:
        """One model by name or reference. Raises `NotFoundError` with the nearest names as hint."""
        parsed = registered(ref)
        model = self._find(parsed.name)
        if parsed.selector:
            select_version(model, parsed.selector)
        return ModelView(model, self._runs.newest_benchmarks([model.id]).get(model.id, {}))

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
        with another runtime is tried again first, which can be cancelled (`CancelledError`). A path is not tried, and
        not hashed before its digest is asked for.
        """
        parsed = parse_ref(ref)
        if isinstance(parsed, PathRef):
            parsed = longer_path(ref, parsed)
            path = locate(str(parsed.path))
            identity = "/".join(map(str, _state_of(path)))
            return Resolved(str(path), str(path), lambda: self._digest_of(path), node=parsed.node, identity=identity)
        model = self._find(parsed.name)
        version = select_version(model, parsed.selector)
        if runnable:
            version = self._trials.current(model, version, on_progress=on_progress, cancel=cancel)
            if not version.runnable:
                raise unrunnable(model.name, version, "this cannot be done with it")
            model = edits.with_version(model, version)
        canonical = f"{model.name}@{version.version}"
        opened = self._open(canonical, version)
        return Resolved(canonical, str(opened), version.artifact.digest, model, version, parsed.node)

    def retry(self, ref: str, *, cancel: CancelToken | None = None) -> ModelView:
        """Try a registered version again, the latest one by default, with its saved overrides, and keep the report.

        Raises `NotFoundError`, `StoreError` when its files cannot be opened, `CancelledError`.
        """
        model, version = self._named_version(ref)
        changed = self._trials.retry(model, version, cancel)
        return ModelView(changed, self._runs.newest_benchmarks([model.id]).get(model.id, {}))

    def set_feed(self, ref: str, feed: FeedSpec, *, cancel: CancelToken | None = None) -> ModelRecord:
        """Keep overrides for synthetic inputs with a version; an empty `FeedSpec` takes them away.

        The version is tried with them, and the report is kept too. Raises `UsageError` (`usage.override`,
        `usage.batch`) for overrides that do not fit, or on which a version that runs would fail; `CancelledError`.
        """
        model, version = self._named_version(ref)
        return self._trials.set_feed(model, version, feed, cancel=cancel)

    def _named_version(self, ref: str) -> tuple[ModelRecord, VersionRecord]:
        parsed = without_node(ref)
        model = self._find(parsed.name)
        return model, select_version(model, parsed.selector)

    def _open(self, ref: str, version: VersionRecord) -> Path:
        """Where the version's file can be opened; an error of the store names the version."""
        try:
            return self._artifacts.open_path(version.artifact)
        except StoreError as error:
            if not error.code.startswith("artifact."):
                raise
            raise StoreError(
                f"{ref} cannot be opened. {error.message}", hint=error.hint, code=error.code, detail=error.detail
            ) from error

    def scan(self, folder: str, *, cancel: CancelToken | None = None) -> Iterator[ScanHit]:
        """Model files below a folder, without following links. Raises `NotFoundError` when there is no folder."""
        return scan(check_folder(folder), KnownFiles(self._registry.heads()), cancel or CancelToken())

    def _digest_of(self, path: Path) -> str:
        key = _state_of(path)
        digest = self._digests.get(key)
        if digest is None:
            digest, _size = file_digest(path)
            with self._lock:
                while len(self._digests) >= MAX_DIGESTS:
                    del self._digests[next(iter(self._digests))]
                self._digests[key] = digest
        return digest

    def _find(self, name: str) -> ModelRecord:
        model = self._registry.find(name)
        if model is None:
            raise unknown_model(self._registry, name)
        return model

    # ---- adding ---------------------------------------------------------------------------------------------------

    def add(
        self, request: AddRequest, *, on_progress: ProgressSink = ignore_progress, cancel: CancelToken | None = None
    ) -> AddResult:
        """Add a file as a new model or as the next version.

        An equal file is not added twice: its version gets the details that the request names. Raises `ModelError` when
        it is rejected, `UsageError` and `ConflictError` for what the request asks for, `GateError` when a protected
        alias would move to a version that does not give its golden outputs; nothing is registered then.
        """
        name = check_name(request.name) if request.name else name_from_path(Path(request.path))
        request.feed.validate()
        check_request(request, name, self._registry)
        promotion = Promotion(self._gate, self._open)
        self._verify_known(request, name, promotion)
        return take_in(
            request.path,
            self._artifacts,
            self._runners,
            accept=lambda report: check_promotable(request, name, self._registry.find(name), report),
            keep=lambda intake: register(
                self._registry, name, request, self._with_warning(request, name, intake, cancel), promotion
            ),
            on_progress=on_progress,
            cancel=cancel or CancelToken(),
            link=request.link,
            feed=request.feed,
        )

    def _with_warning(self, request: AddRequest, name: str, intake: Intake, cancel: CancelToken | None) -> Intake:
        """The intake, warned of golden outputs that the version which gets its report does not give."""
        model = self._registry.find(name)
        known = version_with(model, intake.artifact.digest) if model is not None else None
        is_ready = intake.trial.outcome is TrialOutcome.READY
        if known is None or not known.golden or not is_ready or not gets_report(known, request, intake):
            return intake
        path = self._artifacts.open_path(intake.artifact)
        told = self._gate.problem(f"{name}@{known.version}", path, known, cancel=cancel)
        if cancel is not None:
            cancel.raise_if_cancelled()
        return replace(intake, trial=replace(intake.trial, warning=told))

    def _verify_known(self, request: AddRequest, name: str, promotion: Promotion) -> None:
        """Check the golden outputs of versions that are this very file, where the request would promote one."""
        model = self._registry.find(name)
        if model is None or not aliases.is_protected(model, request.alias):
            return
        guarded = [version for version in model.versions if version.golden and version.runnable]
        digest = file_digest(locate(request.path))[0] if guarded else ""
        for version in guarded:
            if version.artifact.files[0].digest == digest:
                promotion.verify(model, version, request.alias)

    # ---- changing -------------------------------------------------------------------------------------------------

    def update(self, ref: str, patch: MetadataPatch) -> ModelRecord:
        """Change metadata; label, state, notes and lineage go to the version that the reference names."""
        parsed = registered(ref)

        def change(model: ModelRecord, find: Find) -> ModelRecord:
            names_one = parsed.selector or edits.touches_version(patch)
            return edits.patched(
                model, select_version(model, parsed.selector).version if names_one else None, patch, find
            )

        return self._change(parsed.name, change)

    def revise(self, ref: str, action: BulkAction, *, expected_rev: int | None = None) -> ModelRecord:
        """Make all changes of an action to one model in one transaction; see `CatalogPort.revise`."""
        check_action(action)
        parsed = without_node(ref)
        return self._change(
            parsed.name, lambda model, find: changed(model, parsed.selector, action, find)[0], expected_rev
        )

    def tag(self, name: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> ModelRecord:
        """Add and remove tags; the case of letters makes no other tag."""
        return self._change_whole(name, lambda model: edits.with_tags(model, add, remove))

    def categorise(self, name: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> ModelRecord:
        """Add and remove categories; the case of letters makes no other category."""
        return self._change_whole(name, lambda model: edits.with_categories(model, add, remove))

    def set_alias(self, ref: str, alias: str, *, expected_rev: int | None = None, checked: bool = False) -> ModelRecord:
        """Point an alias at the version that the reference names (the latest one by default).

        A protected one, and with `checked` any, only at a version that runs (else `ModelUnrunnableError`) and gives its
        golden outputs (else `GateError`, `golden.differs`).
        """
        parsed = registered(ref)
        check_alias(alias)
        promotion = Promotion(self._gate, self._open, always=checked)

        def change(model: ModelRecord, _find: Find) -> ModelRecord:
            number = select_version(model, parsed.selector).version
            moved = aliases.with_alias(model, alias, number, must_run=checked)
            promotion.admit(model, moved, alias)
            return moved

        return promotion.run(lambda: self._change(parsed.name, change, expected_rev))

    def remove_alias(
        self, name: str, alias: str, *, force: bool = False, expected_rev: int | None = None
    ) -> ModelRecord:
        """Take an alias away; a protected one (`ConflictError`) only by force."""
        return self._change(
            registered(name).name, lambda model, _find: aliases.without_alias(model, alias, force=force), expected_rev
        )

    def protect_alias(self, name: str, alias: str, *, protected: bool = True) -> ModelRecord:
        """Protect an alias like `prod`, or no longer. Raises `NotFoundError` when there is none of that name.

        Raises `GateError` (`golden.differs`) when the version it points at does not give its golden outputs.
        """
        promotion = Promotion(self._gate, self._open)

        def change(model: ModelRecord, _find: Find) -> ModelRecord:
            changed = aliases.with_protection(model, alias, protected=protected)
            promotion.admit(model, changed, alias)
            return changed

        return promotion.run(lambda: self._change(registered(name).name, change))

    def _change(
        self, name: str, change: Callable[[ModelRecord, Find], ModelRecord], expected_rev: int | None = None
    ) -> ModelRecord:
        """Change one model that must exist, in one transaction."""

        def work(edit: RegistryEdit) -> ModelRecord:
            model = edit.find(name)
            if model is None:
                raise unknown_model(self._registry, name)
            check_rev(model, expected_rev)
            return edit.put(change(model, edit.find))

        return self._registry.edit(work)

    def _change_whole(self, ref: str, change: Callable[[ModelRecord], ModelRecord]) -> ModelRecord:
        """Change what belongs to the model; a version that the reference names must be there all the same."""
        parsed = without_node(ref)

        def checked(model: ModelRecord, _find: Find) -> ModelRecord:
            if parsed.selector:
                select_version(model, parsed.selector)
            return change(model)

        return self._change(parsed.name, checked)

    def bulk(self, selection: Sequence[str] | str, action: BulkAction, *, dry_run: bool = False) -> BulkReport:
        """Change many models in one transaction: those that references name, or that a filter (a string) finds."""
        check_action(action)
        if isinstance(selection, str):
            selection = [head.name for head in self._listing.match(selection)]
        return run_bulk(self._registry, targets_of(selection), action, dry_run=dry_run)

    # ---- the trash ------------------------------------------------------------------------------------------------

    def delete(self, ref: str, *, force: bool = False, expected_rev: int | None = None) -> Deletion:
        """Move a version, or the whole model when the reference names none, to the trash.

        Refused (`ConflictError`) while a protected alias points at it, unless forced.
        """
        return self._trash.delete(ref, force=force, expected_rev=expected_rev)

    def trash(self) -> tuple[TrashEntry, ...]:
        """What was deleted and can be restored, newest first."""
        return self._trash.entries()

    def restore(self, what: str, *, name: str = "") -> ModelRecord:
        """Bring back from the trash; see `CatalogTrash.restore`."""
        return self._trash.restore(what, name=name)

    def purge(
        self, what: Sequence[str] = (), *, older_than_s: float = 0.0, dry_run: bool = False
    ) -> tuple[TrashEntry, ...]:
        """Forget trash entries for good: these (ids or titles), or all that are older; returns them."""
        return self._trash.purge(what, older_than_s=older_than_s, dry_run=dry_run)

    # ---- filters --------------------------------------------------------------------------------------------------

    def complete_filter(self, text: str, cursor: int) -> tuple[Completion, ...]:
        """Ways to go on with a filter at the cursor, best first; at most 50."""
        return self._listing.complete(text, cursor)

    def check_filter(self, text: str) -> None:
        """Raises `FilterError` with the column when the filter cannot be read."""
        self._listing.check(text)
