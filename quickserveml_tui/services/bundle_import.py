"""What becomes of a bundle in the registry and the state database; facts and trial are made here, never believed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.catalog import AddResult
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ConflictError, QuickServeError
from quickserveml_tui.core.models import GoldenOutput, ModelRecord, TrialOutcome, VersionRecord
from quickserveml_tui.core.refs import check_name
from quickserveml_tui.core.stores import ArtifactStore, RegistryEdit, RegistryStore, StateStore
from quickserveml_tui.core.text import plural
from quickserveml_tui.services import bundle_format as form
from quickserveml_tui.services import catalog_edit as edits
from quickserveml_tui.services.bundle_read import Extracted
from quickserveml_tui.services.catalog_add import Intake
from quickserveml_tui.services.catalog_lookup import version_with
from quickserveml_tui.services.catalog_register import check_onto, fullness, named, new_model
from quickserveml_tui.services.golden_names import MAX_RECORDS


@dataclass(frozen=True)
class Import:
    """A checked bundle on its way into a home; `folder` holds its files."""

    registry: RegistryStore
    artifacts: ArtifactStore
    state: StateStore
    document: form.BundleDocument
    extracted: Extracted
    folder: Path
    name: str
    onto: str | None = None
    """As in `AddRequest`."""

    @property
    def origin(self) -> str:
        """Where it comes from: `name@version` in the home that exported it."""
        return f"{self.document.name}@{self.document.version}"

    def keep(self, intake: Intake) -> AddResult:
        """Name the artifact as a version, with its golden outputs and benchmarks; call it inside `publishing`.

        A version that is there already keeps what it has and gets only what it lacks.
        """
        if intake.artifact.digest != self.document.artifact:
            raise form.invalid("the model in it is not the one that it names")
        self._keep_blobs()
        result = self.registry.edit(lambda edit: self._register(edit, intake))
        runs = self._new_runs(result.model, result.version)
        if runs:
            self.state.add_benchmarks(runs)
        warnings = (self._label_warning(result), self._golden_warning(result), fullness(self.registry))
        return replace(result, warning=" ".join(filter(None, warnings)))

    def _keep_blobs(self) -> None:
        for name, digest in self.document.members().items():
            is_kept = digest and not name.startswith("model/")
            if is_kept and self.artifacts.put_file(self.folder / name)[0] != digest:
                raise form.invalid(f"{name} changed while it was read")

    def _register(self, edit: RegistryEdit, intake: Intake) -> AddResult:
        old = named(edit.find, self.name)
        check_onto(self.name, old, self.onto)
        known = version_with(old, intake.artifact.digest) if old is not None else None
        model = self._described(old or new_model(self.name))
        if known is not None:
            names = {item.name for item in known.golden}
            new = [item for item in self.document.golden if item.name not in names]
            golden = (*known.golden, *new[: max(MAX_RECORDS - len(known.golden), 0)])
            version = replace(known, golden=_by_name(golden))
            if known.feed == form.NO_FEED and _takes_feed(known, self.document, intake):
                version = replace(version, feed=self.document.feed, trial=intake.trial)
            model, number = edits.with_version(model, version), known.version
        else:
            number = model.next_version
            version = self._version(model, number, intake)
            model = replace(model, versions=(*model.versions, version), next_version=number + 1)
        written = edit.put(model)
        kept = written.version(number)
        if kept is None:
            raise QuickServeError(f"Version {number} of {written.name} was not kept.")
        return AddResult(written, kept, existed=known is not None)

    def _described(self, model: ModelRecord) -> ModelRecord:
        """The model with what the bundle says where it says nothing itself."""
        document = self.document
        texts = {
            field: getattr(model, field) or getattr(document, field)
            for field in ("task", "author", "description", "framework", "license")
        }
        metadata = edits.check_metadata({**document.metadata, **model.metadata})
        grown = replace(model, metadata=metadata, **texts)
        return edits.with_categories(edits.with_tags(grown, document.tags), document.categories)

    def _version(self, model: ModelRecord, number: int, intake: Intake) -> VersionRecord:
        document = self.document
        return VersionRecord(
            number,
            intake.artifact,
            intake.facts,
            intake.trial,
            created_at=utc_now(),
            label=document.label if _is_free(model, document.label) else "",
            state=document.state,
            source=document.source,
            notes=document.notes,
            metadata=document.version_metadata | {form.IMPORTED_FROM: self.origin},
            lineage=document.lineage,
            golden=_by_name(document.golden),
            feed=document.feed,
        )

    def _label_warning(self, result: AddResult) -> str:
        label, version = self.document.label, result.version
        if not label or result.existed or version.label == label:
            return ""
        return f"The label {label} is another version's already, so {result.model.name}@{version.version} has none."

    def _golden_warning(self, result: AddResult) -> str:
        left_out = len({item.name for item in self.document.golden} - {item.name for item in result.version.golden})
        if not left_out:
            return ""
        return f"{plural(left_out, 'golden output')} stayed behind: a version has at most {MAX_RECORDS}."

    def _new_runs(self, model: ModelRecord, version: VersionRecord) -> list[BenchmarkRun]:
        """The benchmarks that the version does not have yet, marked as measured elsewhere."""
        samples = {run.id: run.samples for run in self.document.benchmarks}
        ref = f"{model.name}@{version.version}"
        runs = []
        for run in self.extracted.runs:
            run_id = self._free_id(run.id, model, version)
            if run_id:
                runs.append(
                    replace(
                        run,
                        id=run_id,
                        ref=ref,
                        model=model.id,
                        version=version.version,
                        samples_digest=samples[run.id],
                        command=run.spec.command(ref),
                        origin=f"bundle {self.origin}",
                    )
                )
        return runs

    def _free_id(self, run_id: str, model: ModelRecord, version: VersionRecord) -> str:
        """The run's own id, or one made from it where another version has it; empty when it is here already."""
        made = hashlib.sha256(f"{run_id} {model.id} {version.version}".encode()).hexdigest()[:12]
        for candidate in (run_id, f"bench-{made}"):
            there = self.state.benchmark(candidate)
            if there is None:
                return candidate
            if (there.model, there.version) == (model.id, version.version):
                return ""
        return ""


def import_name(document: form.BundleDocument, name: str) -> str:
    """The name that an imported model gets. Raises `UsageError` (`name.invalid`)."""
    return check_name(name) if name else document.name


def _takes_feed(known: VersionRecord, document: form.BundleDocument, intake: Intake) -> bool:
    """Whether a version without overrides of its own gets those of the bundle: the trial was made with them."""
    return document.feed != form.NO_FEED and (intake.trial.outcome is TrialOutcome.READY or not known.runnable)


def _is_free(model: ModelRecord, label: str) -> bool:
    try:
        edits.check_free_label(model, label)
    except ConflictError:
        return False
    return True


def _by_name(golden: tuple[GoldenOutput, ...]) -> tuple[GoldenOutput, ...]:
    return tuple(sorted(golden, key=lambda item: item.name))
