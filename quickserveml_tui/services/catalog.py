"""Find, add and change models."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.catalog import (
    AddRequest,
    AddResult,
    CatalogPage,
    CatalogQuery,
    ModelView,
    Resolved,
    ScanHit,
)
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ModelError, ModelUnrunnableError, NotFoundError, UsageError
from quickserveml_tui.core.jobs import CancelToken, ProgressSink, ignore_progress, new_id
from quickserveml_tui.core.models import MetadataPatch, ModelRecord, TrialOutcome, TrialReport, VersionRecord
from quickserveml_tui.core.refs import ModelRef, PathRef, check_alias, check_name, name_from_path, parse_ref
from quickserveml_tui.core.runners import RunnerPool
from quickserveml_tui.core.stores import ArtifactStore, RegistryStore, StateStore
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services import catalog_edit as edit
from quickserveml_tui.services.catalog_add import Intake, locate, take_in
from quickserveml_tui.services.catalog_query import Haystacks, matches, page, parse_words
from quickserveml_tui.services.catalog_scan import KnownFiles, check_folder, scan
from quickserveml_tui.storage.artifacts import file_digest

MAX_DIGESTS = 256
EVERYTHING = CatalogQuery()


class CatalogService:
    """`CatalogPort` on a registry, an artifact store and a state database."""

    def __init__(
        self, registry: RegistryStore, artifacts: ArtifactStore, state: StateStore, runners: RunnerPool
    ) -> None:
        self._registry = registry
        self._artifacts = artifacts
        self._state = state
        self._runners = runners
        self._lock = threading.Lock()
        self._haystacks = Haystacks()
        self._benchmarks: tuple[str, dict[str, dict[int, BenchmarkRun]]] = ("", {})
        self._digests: dict[tuple[str, int, int, int], str] = {}

    # ---- finding --------------------------------------------------------------------------------------------------

    def generation(self) -> str:
        """A token that changes when the catalog or a saved benchmark does."""
        return f"{self._registry.generation()}/{self._state.generation()}"

    def list_models(self, query: CatalogQuery = EVERYTHING) -> CatalogPage:
        """Models that match, sorted. Raises `UsageError` for a filter, order, limit or token that is not valid."""
        words = parse_words(query.text)
        models = self._registry.models()
        benchmarks = self._newest_benchmarks()
        with self._lock:
            found = [model for model in models if matches(model, words, self._haystacks)]
            self._haystacks.keep(models)
        return page([ModelView(model, benchmarks.get(model.id, {})) for model in found], query)

    def show(self, ref: str) -> ModelView:
        """One model by name or reference. Raises `NotFoundError` with the nearest names as hint."""
        parsed = self._registered(ref)
        model = self._find(parsed.name)
        if parsed.selector:
            select_version(model, parsed.selector)
        return ModelView(model, self._newest_benchmarks().get(model.id, {}))

    def resolve(self, ref: str, *, runnable: bool = False) -> Resolved:
        """What a reference or path stands for.

        With `runnable`, raises `ModelUnrunnableError` for a registered version whose trial failed; a path is not tried.
        """
        parsed = parse_ref(ref)
        if isinstance(parsed, PathRef):
            path = locate(str(parsed.path))
            return Resolved(str(path), str(path), self._digest_of(path), node=parsed.node)
        model = self._find(parsed.name)
        version = select_version(model, parsed.selector)
        if runnable and not version.runnable:
            raise edit.unrunnable(model.name, version, "this cannot be done with it")
        opened = self._artifacts.open_path(version.artifact)
        canonical = f"{model.name}@{version.version}"
        return Resolved(canonical, str(opened), version.artifact.digest, model, version, parsed.node)

    def scan(self, folder: str, *, cancel: CancelToken | None = None) -> Iterator[ScanHit]:
        """Model files below a folder, without following links. Raises `NotFoundError` when there is no folder."""
        return scan(check_folder(folder), KnownFiles(self._registry.models()), cancel or CancelToken())

    def _newest_benchmarks(self) -> dict[str, dict[int, BenchmarkRun]]:
        generation = self._state.generation()  # before the rows: a run in between is seen next time
        known = self._benchmarks
        if known[0] != generation:
            known = self._benchmarks = (generation, self._state.newest_benchmarks())
        return known[1]

    def _digest_of(self, path: Path) -> str:
        try:
            status = path.stat()
        except OSError as error:
            raise ModelError(f"{safe_text(path.name, 80)} is gone.", code="model.missing") from error
        key = (str(path), status.st_ino, status.st_size, status.st_mtime_ns)
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
        return model if model is not None else self._raise_unknown(name)

    def _raise_unknown(self, name: str) -> ModelRecord:
        names = [model.name for model in self._registry.models()]
        near = difflib.get_close_matches(name.lower(), [item.lower() for item in names], n=3, cutoff=0.5)
        close = [item for item in names if item.lower() in near]
        hint = f"Did you mean {' or '.join(close)}?" if close else "`quickserveml list` shows the models there are."
        if not names:
            hint = "The catalog is empty: add a model with `quickserveml add PATH`."
        raise NotFoundError(f"There is no model “{safe_text(name, 80)}”.", hint=hint, code="model.not_found")

    def _registered(self, ref: str) -> ModelRef:
        parsed = parse_ref(ref)
        if isinstance(parsed, PathRef):
            raise NotFoundError(
                f"“{safe_text(ref, 80)}” is a path, not a registered model.",
                hint="Add the file first, then use its name.",
                code="model.not_found",
            )
        return parsed

    # ---- adding ---------------------------------------------------------------------------------------------------

    def add(
        self, request: AddRequest, *, on_progress: ProgressSink = ignore_progress, cancel: CancelToken | None = None
    ) -> AddResult:
        """Add a file as a new model or as the next version; an equal file is not added twice.

        Raises `ModelError` when it is rejected, `UsageError` and `ConflictError` for what the request asks for;
        nothing is stored then.
        """
        name = check_name(request.name) if request.name else name_from_path(Path(request.path))
        _check_request(request, name, self._registry.find(name))

        def accept(report: TrialReport) -> None:
            if edit.is_protected(request.alias) and report.outcome is not TrialOutcome.READY:
                raise _unpromotable(name, request.alias, report)

        intake = take_in(
            request.path,
            self._artifacts,
            self._runners,
            accept=accept,
            on_progress=on_progress,
            cancel=cancel or CancelToken(),
        )
        return self._register(name, request, intake)

    def _register(self, name: str, request: AddRequest, intake: Intake) -> AddResult:
        existed = False

        def change(old: ModelRecord | None) -> ModelRecord:
            nonlocal existed
            existed = old is not None and _version_with(old, intake.artifact.digest) is not None
            if old is not None and existed:
                return old
            return _with_next_version(old or _new_model(name), request, intake)

        model = self._registry.put(name, change)
        version = None if model is None else _version_with(model, intake.artifact.digest)
        if model is None or version is None:
            raise NotFoundError(f"{name} vanished while it was added.", hint="Add it again.", code="model.not_found")
        return AddResult(model, version, existed)

    # ---- changing -------------------------------------------------------------------------------------------------

    def update(self, ref: str, patch: MetadataPatch) -> ModelRecord:
        """Change metadata; label, state and notes go to the version that the reference names."""
        parsed = self._registered(ref)

        def change(model: ModelRecord) -> ModelRecord:
            touches_version = parsed.selector or any(
                item is not None for item in (patch.label, patch.state, patch.notes)
            )
            return edit.patched(
                model, select_version(model, parsed.selector).version if touches_version else None, patch
            )

        return self._change(parsed.name, change)

    def tag(self, name: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> ModelRecord:
        """Add and remove tags."""
        tags, gone = edit.check_tags(add), set(remove)
        return self._change(
            self._registered(name).name,
            lambda model: replace(model, tags=edit.check_tags([*(set(model.tags) - gone), *tags])),
        )

    def set_alias(self, ref: str, alias: str) -> ModelRecord:
        """Point an alias at the version that the reference names (the latest one by default)."""
        parsed = self._registered(ref)
        check_alias(alias)
        return self._change(
            parsed.name,
            lambda model: edit.with_alias(model, alias, select_version(model, parsed.selector).version),
        )

    def remove_alias(self, name: str, alias: str) -> ModelRecord:
        """Take an alias away. Raises `NotFoundError` when there is none of that name."""
        return self._change(self._registered(name).name, lambda model: edit.without_alias(model, alias))

    def delete(self, ref: str, *, force: bool = False) -> ModelRecord | None:
        """Delete a version, or the whole model when the reference names none; returns what is left.

        The files stay in the artifact store until they are collected. Refused (`ConflictError`) while a protected
        alias points at it, unless forced.
        """
        parsed = self._registered(ref)
        if parsed.node is not None:
            raise UsageError("A node cannot be deleted.", hint="Name a model or a version.", code="reference.invalid")
        # `name@latest` parses to an empty selector, yet it names one version, not the model.
        names_version = "@" in ref.partition("#")[0]
        model = self._find(parsed.name)

        def change(old: ModelRecord | None) -> ModelRecord | None:
            if old is None:
                return self._raise_unknown(parsed.name)
            if names_version:
                return edit.without_version(old, select_version(old, parsed.selector).version, force=force)
            protected = [alias for alias in old.aliases if edit.is_protected(alias)]
            edit.check_unprotected(old.name, protected, force=force)
            return None

        return self._registry.put(model.id, change)

    def _change(self, name: str, change: Callable[[ModelRecord], ModelRecord]) -> ModelRecord:
        """Change one model that must exist; by id, so that a rename in between does no harm."""
        model = self._find(name)
        written = self._registry.put(
            model.id, lambda old: change(old) if old is not None else self._raise_unknown(name)
        )
        return written if written is not None else self._raise_unknown(name)


def select_version(model: ModelRecord, selector: str) -> VersionRecord:
    """The version that a selector names: a number, a label or an alias; the latest one when it is empty.

    Raises `NotFoundError` (`version.not_found`) and says what there is.
    """
    if not selector:
        found = model.latest
    elif (number := ModelRef(model.name, selector).version) is not None:
        found = model.version(number)
    else:
        labelled = next((item for item in model.versions if item.label == selector), None)
        found = labelled or model.version(model.aliases.get(selector, 0))
    if found is None:
        numbers = ", ".join(str(item.version) for item in model.versions[-5:]) or "none"
        aliases = ", ".join(sorted(model.aliases)) or "none"
        raise NotFoundError(
            f"{model.name} has no version “{safe_text(selector or 'latest', 60)}”.",
            hint=f"Its newest versions: {numbers}; its aliases: {aliases}.",
            code="version.not_found",
        )
    return found


def _version_with(model: ModelRecord, digest: str) -> VersionRecord | None:
    return next((item for item in reversed(model.versions) if item.artifact.digest == digest), None)


def _new_model(name: str) -> ModelRecord:
    now = utc_now()
    return ModelRecord(new_id("model"), name, created_at=now, updated_at=now)


def _patch_of(request: AddRequest) -> MetadataPatch:
    return MetadataPatch(
        task=request.task or None,
        author=request.author or None,
        description=request.description or None,
        framework=request.framework or None,
        license=request.license or None,
        metadata=dict(request.metadata),
    )


def _check_request(request: AddRequest, name: str, model: ModelRecord | None) -> None:
    """Refuse what the request asks for before any byte is written."""
    model = model or _new_model(name)
    edit.patched(model, None, _patch_of(request))
    edit.check_tags([*model.tags, *request.tags])
    edit.check_free_label(model, request.label)
    if request.alias:
        check_alias(request.alias)


def _unpromotable(name: str, alias: str, report: TrialReport) -> ModelUnrunnableError:
    return ModelUnrunnableError(
        f"{name} does not run, so {alias} cannot point at it: {safe_text(report.reason, 300)}",
        hint="Add it without that alias to inspect it.",
        detail=report.detail,
    )


def _with_next_version(model: ModelRecord, request: AddRequest, intake: Intake) -> ModelRecord:
    number = model.next_version
    version = VersionRecord(
        number,
        intake.artifact,
        intake.facts,
        intake.trial,
        created_at=utc_now(),
        label=edit.check_free_label(model, request.label),
        source=intake.source,
    )
    grown = replace(
        edit.patched(model, None, _patch_of(request)),
        versions=(*model.versions, version),
        next_version=number + 1,
        tags=edit.check_tags([*model.tags, *request.tags]),
    )
    return edit.with_alias(grown, request.alias, number) if request.alias else grown
