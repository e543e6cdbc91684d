"""What an added file becomes in the registry: the next version, or new details of the version that it equals."""

from __future__ import annotations

from dataclasses import replace

from quickserveml_tui.core.catalog import AddRequest, AddResult
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ConflictError, ModelUnrunnableError, QuickServeError, StoreError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import new_id
from quickserveml_tui.core.models import MetadataPatch, ModelRecord, TrialOutcome, TrialReport, VersionRecord
from quickserveml_tui.core.refs import check_alias
from quickserveml_tui.core.stores import RegistryEdit, RegistryStore
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services import catalog_aliases as aliases
from quickserveml_tui.services import catalog_edit as edits
from quickserveml_tui.services.alias_moves import last_move, move_warnings
from quickserveml_tui.services.catalog_add import Intake, locate
from quickserveml_tui.services.catalog_lookup import Find, version_with
from quickserveml_tui.services.catalog_retry import refused
from quickserveml_tui.services.golden_promotion import Promotion
from quickserveml_tui.storage.artifacts import file_digest

NO_FEED = FeedSpec()
WAY_OUT = (
    "Delete models that are no longer needed and empty the trash (`quickserveml purge --all`), "
    "or start another home with --home."
)


def check_request(request: AddRequest, name: str, registry: RegistryStore) -> None:
    """Refuse what the request asks for before any byte is written.

    Raises `UsageError` for what is not valid, `ConflictError` for a label that is taken, `NotFoundError` for a parent
    that is not there, `StoreError` (`registry.full`).
    """
    model = named(registry.find, name)
    check_onto(name, model, request.onto)
    if model is None:
        model = new_model(name)
        _check_room(registry)
    edits.with_tags(edits.with_categories(model, request.categories), request.tags)
    edits.patched(model, None, replace(patch_of(request), **dict.fromkeys(edits.VERSION_FIELDS)), registry.find)
    edits.check_metadata(dict(request.metadata))
    edits.check_text("notes", request.notes, is_long=True)
    edits.check_lineage_text("made from", request.lineage.made_from)
    edits.check_lineage_text("converted by", request.lineage.converted_by)
    edits.check_parent(request.lineage.parent, registry.find)
    _check_label(request, model)
    if request.alias:
        check_alias(request.alias)


def named(find: Find, name: str) -> ModelRecord | None:
    """The model with this name. Raises `ConflictError` (`name.taken`) for the id of another: it would hide that one."""
    model = find(name)
    if model is not None and model.name != name:
        raise ConflictError(
            f"{name} is the id of {model.name}.", hint="Choose another name with --name.", code="name.taken"
        )
    return model


def check_onto(name: str, model: ModelRecord | None, onto: str | None) -> None:
    """Raise `ConflictError` where a name is taken that must be free, or stands for another model than it must."""
    if onto is None or onto == (model.id if model is not None else ""):
        return
    if not onto:
        raise ConflictError(
            f"There is already a model called {name}.",
            hint="Add a version to it, or choose another name.",
            code="name.taken",
        )
    raise ConflictError(f"{name} is another model by now.", hint="Repeat it.", code="model.changed")


def _check_room(registry: RegistryStore) -> None:
    count, _warn, limit = registry.capacity()
    if count >= limit:
        raise StoreError(
            f"The registry is full: it holds {count:,} of at most {limit:,} models.",
            hint=WAY_OUT,
            code="registry.full",
        )


def _check_label(request: AddRequest, model: ModelRecord) -> None:
    """Refuse a label of another version early; it is no conflict when the file is that version's own."""
    try:
        edits.check_free_label(model, request.label)
    except ConflictError:
        owner = next(item for item in model.versions if item.label == request.label)
        digest, _size = file_digest(locate(request.path))
        if digest != owner.artifact.files[0].digest:
            raise


def check_promotable(request: AddRequest, name: str, model: ModelRecord | None, report: TrialReport) -> None:
    """Raise `ModelUnrunnableError` when a protected alias would point at a model whose trial failed."""
    if aliases.is_protected(model, request.alias) and report.outcome != "ready":
        raise ModelUnrunnableError(
            f"{name} does not run, so {request.alias} cannot point at it: {safe_text(report.reason, 300)}",
            hint="Add it without that alias to inspect it.",
            detail=report.detail,
        )


def register(
    registry: RegistryStore, name: str, request: AddRequest, intake: Intake, promotion: Promotion
) -> AddResult:
    """Name an artifact in the registry in one transaction. Raises `GateError` for what `promotion` does not know."""

    def work(edit: RegistryEdit) -> AddResult:
        old = named(edit.find, name)
        check_onto(name, old, request.onto)
        known = version_with(old, intake.artifact.digest) if old is not None else None
        if old is not None and known is not None:
            model, number = _with_details(old, known, request, intake, edit), known.version
            promotion.insist(old, model, request.alias)
        else:
            model, number = _grown(old or new_model(name), request, intake, edit)
        written = edit.put(model)
        moved = last_move(old, written, request.alias)
        return AddResult(written, _version(written, number), existed=known is not None, moved=moved)

    result = registry.edit(work)
    said = (_unlinked(request, result), *move_warnings(result.model, result.moved), fullness(registry))
    return replace(result, warning=" ".join(filter(None, said)))


def _unlinked(request: AddRequest, result: AddResult) -> str:
    if not request.link or result.version.artifact.is_linked:
        return ""
    return f"{result.model.name}@{result.version.version} is kept as a copy already, so nothing was linked."


def fullness(registry: RegistryStore) -> str:
    """A sentence when the registry is nearly full."""
    count, warn, limit = registry.capacity()
    if count < warn:
        return ""
    return f"The registry holds {count:,} of at most {limit:,} models, and writing becomes slow. {WAY_OUT}"


def new_model(name: str) -> ModelRecord:
    """A model without versions."""
    now = utc_now()
    return ModelRecord(new_id("model"), name, created_at=now, updated_at=now)


def patch_of(request: AddRequest) -> MetadataPatch:
    """What a request says about the model and the version; what it leaves empty stays as it is."""
    return MetadataPatch(
        task=request.task or None,
        author=request.author or None,
        description=request.description or None,
        framework=request.framework or None,
        license=request.license or None,
        version_metadata=dict(request.metadata) or None,
        label=request.label or None,
        notes=request.notes or None,
        made_from=request.lineage.made_from or None,
        converted_by=request.lineage.converted_by or None,
        parent=request.lineage.parent or None,
    )


def _grown(model: ModelRecord, request: AddRequest, intake: Intake, edit: RegistryEdit) -> tuple[ModelRecord, int]:
    number = model.next_version
    version = VersionRecord(
        number,
        intake.artifact,
        intake.facts,
        intake.trial,
        created_at=utc_now(),
        source=intake.source,
        feed=request.feed,
    )
    grown = replace(model, versions=(*model.versions, version), next_version=number + 1)
    return _detailed(grown, number, request, edit), number


def _with_details(
    model: ModelRecord, version: VersionRecord, request: AddRequest, intake: Intake, edit: RegistryEdit
) -> ModelRecord:
    """The model with what the request says about a version that is there already."""
    ref = f"{model.name}@{version.version}"
    if request.label and version.label and request.label != version.label:
        raise ConflictError(
            f"This file is {ref} already, with the label {version.label}.",
            hint=f"Change it with: quickserveml update {ref} --label {request.label}",
            code="label.taken",
        )
    if version.artifact.is_linked:  # the same content: copied now, or found where it lies now
        version = replace(version, artifact=intake.artifact)
    model = edits.with_version(model, _with_trial(ref, version, request, intake))
    return _detailed(model, version.version, request, edit)


def gets_report(version: VersionRecord, request: AddRequest, intake: Intake) -> bool:
    """Whether the report of an intake replaces that of the version that the file is: where it tells more."""
    if request.feed != NO_FEED:
        return True
    is_newer = intake.trial.runtime not in ("", version.trial.runtime)
    is_better = intake.trial.outcome is TrialOutcome.READY and not version.runnable
    return version.feed == NO_FEED and (is_newer or is_better)


def _with_trial(ref: str, version: VersionRecord, request: AddRequest, intake: Intake) -> VersionRecord:
    """The version with the overrides of the request, and with the new report where that tells more than the old one."""
    if not gets_report(version, request, intake):
        return version
    if request.feed == NO_FEED:
        return replace(version, trial=intake.trial)
    if version.runnable and intake.trial.outcome is not TrialOutcome.READY:
        raise refused(ref, intake.trial)
    return replace(version, feed=request.feed, trial=intake.trial)


def _detailed(model: ModelRecord, number: int, request: AddRequest, edit: RegistryEdit) -> ModelRecord:
    changed = edits.patched(model, number, patch_of(request), edit.find)
    changed = edits.with_categories(edits.with_tags(changed, request.tags), request.categories)
    return aliases.with_alias(changed, request.alias, number) if request.alias else changed


def _version(model: ModelRecord, number: int) -> VersionRecord:
    version = model.version(number)
    if version is None:
        raise QuickServeError(f"Version {number} of {model.name} was not kept.")
    return version
