"""Models and versions as the management API shows them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, field

from quickserveml_tui.core.facts import LayerRow, ModelFacts, ModelHeader
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.golden import GoldenCheck
from quickserveml_tui.core.models import (
    AliasEvent,
    GoldenOutput,
    Lineage,
    ModelRecord,
    TrashEntry,
    TrialOutcome,
    TrialReport,
    VersionRecord,
    VersionState,
)
from quickserveml_tui.server.api.catalog_calls import without_paths
from quickserveml_tui.services.catalog_aliases import protected_aliases

Text = Annotated[str, Meta(max_length=10_000)]
Word = Annotated[str, Meta(max_length=200)]


class FileDocument(Struct):
    """A file of a version."""

    path: str
    digest: str
    size_bytes: int


class TrialDocument(Struct):
    """What the trial of a version found."""

    outcome: TrialOutcome
    code: str
    reason: str
    warning: str
    quarantined: bool
    signal: str
    runtime: str
    tried_at: str
    load_ms: float | None
    run_ms: float | None


class VersionDocument(Struct):
    """A version of a model."""

    model: str
    model_id: str
    version: int
    label: str
    state: VersionState
    status: str
    """`draft` and so on, or `unrunnable` or `quarantined` where it does not run."""
    runnable: bool
    digest: str
    size_bytes: int
    files: list[FileDocument]
    aliases: list[str]
    created_at: str
    source: str
    notes: str
    metadata: dict[str, str]
    lineage: Lineage
    trial: TrialDocument
    feed: FeedSpec
    golden: int
    """Number of its golden outputs."""
    params: int
    nodes: int
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]


class VersionPage(Struct):
    """A page of versions, newest first."""

    versions: list[VersionDocument]
    next_page_token: str


class ModelDocument(Struct):
    """A model."""

    id: str
    name: str
    rev: int
    created_at: str
    updated_at: str
    task: str
    author: str
    description: str
    framework: str
    license: str
    tags: list[str]
    categories: list[str]
    metadata: dict[str, str]
    aliases: dict[str, int]
    protected: list[str]
    """Those of its aliases that are protected."""
    versions: list[int]
    latest: VersionDocument | None


class ModelPage(Struct):
    """A page of models."""

    models: list[ModelDocument]
    next_page_token: str
    total: int
    """Models that match, on all pages."""


class Added(Struct):
    """What became of an uploaded file."""

    model: ModelDocument
    version: VersionDocument
    existed: bool
    """Whether this very file was a version of the model already."""
    warning: str


class ModelContent(Struct, forbid_unknown_fields=True):
    """All of a model that can be written."""

    task: Word = ""
    author: Word = ""
    description: Text = ""
    framework: Word = ""
    license: Word = ""
    tags: Annotated[list[Word], Meta(max_length=50)] = field(default_factory=list)
    categories: Annotated[list[Word], Meta(max_length=50)] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


class ModelChange(Struct, forbid_unknown_fields=True):
    """Changes of a model: what is left out stays, null takes away, a list replaces; metadata is merged."""

    task: Word | UnsetType | None = UNSET
    author: Word | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET
    framework: Word | UnsetType | None = UNSET
    license: Word | UnsetType | None = UNSET
    tags: Annotated[list[Word], Meta(max_length=50)] | UnsetType | None = UNSET
    categories: Annotated[list[Word], Meta(max_length=50)] | UnsetType | None = UNSET
    metadata: dict[str, str | None] | UnsetType = UNSET


class VersionChange(Struct, forbid_unknown_fields=True):
    """Changes of a version: what is left out stays, null takes away; metadata is merged."""

    label: Word | UnsetType | None = UNSET
    state: VersionState | UnsetType = UNSET
    notes: Text | UnsetType | None = UNSET
    metadata: dict[str, str | None] | UnsetType = UNSET
    made_from: Text | UnsetType | None = UNSET
    converted_by: Text | UnsetType | None = UNSET
    parent: Word | UnsetType | None = UNSET


class AliasDocument(Struct):
    """An alias with its moves, oldest first; version 0 means taken away."""

    alias: str
    version: int
    protected: bool
    history: list[AliasEvent]


class AliasMoved(AliasDocument):
    """An alias that was set."""

    warnings: list[str]
    """What the move changes for those who use it, such as other inputs and outputs than before."""


class AliasList(Struct):
    """All aliases of a model."""

    aliases: list[AliasDocument]


class AliasTarget(Struct, forbid_unknown_fields=True):
    """Where an alias is to point."""

    version: Word | Annotated[int, Meta(ge=1, le=2**31 - 1)]
    """Number, label or alias of a version, or `latest`."""
    protected: bool | None = None
    """Protect it, or no longer; null leaves that as it is."""


class Promotion(Struct, forbid_unknown_fields=True):
    """What to promote."""

    version: Word | Annotated[int, Meta(ge=1, le=2**31 - 1)] = "latest"
    alias: Word = "prod"


class DeletionDocument(Struct):
    """What went to the trash."""

    deleted: str
    trash_id: str
    versions_left: int


class RestoreRequest(Struct, forbid_unknown_fields=True):
    """How to restore."""

    name: Word = ""
    """A new name; empty takes the old one."""


class TrashDocument(Struct):
    """Something in the trash."""

    id: str
    kind: str
    title: str
    model_id: str
    name: str
    version: int | None
    versions: int
    size_bytes: int
    deleted_at: str


class TrashPage(Struct):
    """A page of the trash, newest first."""

    entries: list[TrashDocument]
    next_page_token: str


class GraphDocument(Struct):
    """What a model file says about itself, and its totals."""

    header: ModelHeader
    totals: ModelFacts


class LayersDocument(Struct):
    """A page of layers."""

    layers: list[LayerRow]
    offset: int
    total: int
    shapes: bool
    """Whether shapes and multiply-adds were looked for."""
    next_page_token: str


class SchemaDocument(Struct):
    """JSON Schema of requests and responses, with examples."""

    request: dict[str, Any]
    response: dict[str, Any]


class GoldenList(Struct):
    """The golden outputs of a version, by name."""

    golden: list[GoldenOutput]


class GoldenRequest(Struct, forbid_unknown_fields=True):
    """What to record; without `inputs` they are made by `feed`, without `outputs` they are what the model answers."""

    name: Word = ""
    inputs: dict[str, Any] | None = None
    outputs: dict[str, Any] | None = None
    feed: FeedSpec = field(default_factory=FeedSpec)
    rtol: float = 1e-4
    atol: float = 1e-5
    notes: Text = ""
    overwrite: bool = False


class VerifyRequest(Struct, forbid_unknown_fields=True):
    """What to verify."""

    names: Annotated[list[Word], Meta(max_length=1000)] = field(default_factory=list)
    """Empty takes all."""
    against: Word = ""
    """Another version of the model, whose golden outputs are run on this one."""


class GoldenVerdict(Struct):
    """What running golden outputs again found."""

    ok: bool
    runtime: str
    checks: list[GoldenCheck]


def version_document(model: ModelRecord, version: VersionRecord, *, hide_parent: bool = False) -> VersionDocument:
    """A version; with `hide_parent`, without the version that it was derived from."""
    lineage = version.lineage
    if hide_parent:
        lineage = Lineage(lineage.made_from, lineage.converted_by)
    return VersionDocument(
        model=model.name,
        model_id=model.id,
        version=version.version,
        label=version.label,
        state=version.state,
        status=version.status,
        runnable=version.runnable,
        digest=version.artifact.digest,
        size_bytes=version.artifact.size_bytes,
        files=[FileDocument(item.path, item.digest, item.size_bytes) for item in version.artifact.files],
        aliases=list(model.aliases_of(version.version)),
        created_at=version.created_at,
        source=version.source,
        notes=version.notes,
        metadata=version.metadata,
        lineage=lineage,
        trial=trial_document(version.trial),
        feed=version.feed,
        golden=len(version.golden),
        params=version.facts.params,
        nodes=version.facts.nodes,
        inputs=[spec.to_doc() for spec in version.facts.inputs],
        outputs=[spec.to_doc() for spec in version.facts.outputs],
    )


def trial_document(trial: TrialReport) -> TrialDocument:
    """What a trial found, without the runtime's own words, which may name files of the server."""
    return TrialDocument(
        trial.outcome,
        trial.code,
        without_paths(trial.reason),
        without_paths(trial.warning),
        trial.quarantined,
        trial.signal,
        trial.runtime,
        trial.tried_at,
        trial.load_ms,
        trial.run_ms,
    )


def model_document(model: ModelRecord, *, hide_parent: bool = False) -> ModelDocument:
    """A model with its latest version."""
    latest = model.latest
    return ModelDocument(
        id=model.id,
        name=model.name,
        rev=model.rev,
        created_at=model.created_at,
        updated_at=model.updated_at,
        task=model.task,
        author=model.author,
        description=model.description,
        framework=model.framework,
        license=model.license,
        tags=list(model.tags),
        categories=list(model.categories),
        metadata=model.metadata,
        aliases=model.aliases,
        protected=list(protected_aliases(model)),
        versions=[item.version for item in model.versions],
        latest=version_document(model, latest, hide_parent=hide_parent) if latest else None,
    )


def alias_document(model: ModelRecord, alias: str) -> AliasDocument:
    """An alias of a model."""
    history = [event for event in model.alias_history if event.alias == alias]
    return AliasDocument(alias, model.aliases[alias], alias in protected_aliases(model), history)


def alias_moved(model: ModelRecord, alias: str, warnings: Iterable[str]) -> AliasMoved:
    """An alias of a model that was set."""
    shown = alias_document(model, alias)
    return AliasMoved(shown.alias, shown.version, shown.protected, shown.history, list(warnings))


def trash_document(entry: TrashEntry) -> TrashDocument:
    """Something in the trash."""
    sizes = {item.artifact.digest: item.artifact.size_bytes for item in entry.versions}
    return TrashDocument(
        id=entry.id,
        kind=entry.kind.value,
        title=entry.title,
        model_id=entry.model_id,
        name=entry.name,
        version=entry.version.version if entry.version else None,
        versions=len(entry.versions),
        size_bytes=sum(sizes.values()),
        deleted_at=entry.deleted_at,
    )
