"""Golden outputs of versions: recorded, listed, taken away, run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ModelError, NotFoundError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.golden import GoldenContent, GoldenReport
from quickserveml_tui.core.jobs import CancelToken, ProgressSink, ignore_progress
from quickserveml_tui.core.models import GoldenOutput, ModelRecord, VersionRecord
from quickserveml_tui.core.ports import CatalogPort
from quickserveml_tui.core.runners import RunnerPool
from quickserveml_tui.core.stores import ArtifactStore, RegistryEdit, RegistryStore
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.bundle_format import check_golden_name
from quickserveml_tui.services.catalog_edit import check_text, with_version
from quickserveml_tui.services.catalog_lookup import select_version, without_node
from quickserveml_tui.services.golden_checks import whole_blob
from quickserveml_tui.services.golden_gate import GoldenGate
from quickserveml_tui.services.golden_names import (
    MAX_RECORDS,
    check_tolerance,
    find_golden,
    free_name,
    source_of,
    with_golden,
    without_golden,
)
from quickserveml_tui.services.golden_record import MAX_BYTES, Recording
from quickserveml_tui.services.paths import user_path

DEFAULT_FEED = FeedSpec()
__all__ = ["MAX_BYTES", "MAX_RECORDS", "GoldenService"]


class GoldenService:
    """`GoldenPort` on the catalog, the stores and warm runners."""

    def __init__(
        self,
        catalog: CatalogPort,
        registry: RegistryStore,
        artifacts: ArtifactStore,
        runners: RunnerPool,
        *,
        gate: GoldenGate | None = None,
    ) -> None:
        self._catalog = catalog
        self._registry = registry
        self._artifacts = artifacts
        self._runners = runners
        self._gate = gate or GoldenGate(artifacts, runners)

    # ---- recording ------------------------------------------------------------------------------------------------

    def record(
        self,
        ref: str,
        name: str = "",
        *,
        inputs: Path | None = None,
        outputs: Path | None = None,
        feed: FeedSpec = DEFAULT_FEED,
        rtol: float = 1e-4,
        atol: float = 1e-5,
        notes: str = "",
        overwrite: bool = False,
        cancel: CancelToken | None = None,
    ) -> GoldenOutput:
        """Run a version twice and keep inputs and outputs; with `outputs`, a file, those are what is expected.

        Inputs come from a file, or are made by `feed` laid over the feed that is saved with the version. An empty
        `name` takes `default`, then `default-2` and so on. Raises `ConflictError` (`golden.exists`, `golden.unstable`,
        `golden.differs`, `golden.too_many`), `DataError` (`golden.too_large`, `golden.outputs`, and for what a file
        holds), `UsageError`, `NotFoundError`, `ModelUnrunnableError`, `RunnerError` and `StoreError`; nothing is kept
        then.
        """
        check_tolerance(rtol, atol)
        check_text("notes", notes, is_long=True)
        feed.validate()
        if name:
            check_golden_name(name)
        source, expected = (user_path(path) if path is not None else None for path in (inputs, outputs))
        without_node(ref)
        resolved = self._catalog.resolve(ref, runnable=True, cancel=cancel)
        assert resolved.model is not None
        assert resolved.version is not None
        free_name(resolved.version, name, overwrite=overwrite)
        laid = feed.over(resolved.version.feed)
        recording = Recording(Path(resolved.path), source, expected, laid, rtol, atol)
        with self._artifacts.stage() as staging:  # a private folder; refused here where nothing may be written
            with self._runners.borrow() as runner:
                made = recording.make(runner, staging.folder, cancel)
            if cancel is not None:
                cancel.raise_if_cancelled()
            with self._artifacts.publishing():  # no collection between the files and the version that names them
                golden = GoldenOutput(
                    name,
                    self._artifacts.put_file(made.inputs)[0],
                    self._artifacts.put_file(made.outputs)[0],
                    utc_now(),
                    rtol,
                    atol,
                    notes,
                    source=source_of(source, laid),
                    runtime=made.runtime,
                )
                return self._keep(resolved.model, resolved.version, golden, overwrite=overwrite)

    def _keep(
        self, model: ModelRecord, version: VersionRecord, golden: GoldenOutput, *, overwrite: bool
    ) -> GoldenOutput:
        """Name it in the registry, beside what the version has by now."""
        kept = golden

        def change(now: VersionRecord) -> VersionRecord:
            nonlocal kept
            if now.artifact.digest != version.artifact.digest:
                raise ModelError(
                    f"{model.name}@{version.version} is another model by now.", hint="Repeat it.", code="model.changed"
                )
            kept = replace(golden, name=free_name(now, golden.name, overwrite=overwrite))
            return with_golden(now, kept)

        self._change(model.id, str(version.version), change)
        return kept

    def remove(self, ref: str, name: str) -> ModelRecord:
        """Take one away; its files go with the next `gc`. Raises `NotFoundError` (`golden.not_found`)."""
        parsed = without_node(ref)
        self._catalog.show(ref)  # an unknown name is told with the nearest ones

        def change(version: VersionRecord) -> VersionRecord:
            return without_golden(version, find_golden(ref, version, name).name)

        return self._change(parsed.name, parsed.selector, change)

    def _change(self, name: str, selector: str, change: Callable[[VersionRecord], VersionRecord]) -> ModelRecord:
        """Change a version in one transaction, on its state of that moment."""

        def work(edit: RegistryEdit) -> ModelRecord:
            model = edit.find(name)
            if model is None:
                raise NotFoundError(
                    f"The model {safe_text(name, 80)} is gone.", hint="It was deleted.", code="model.not_found"
                )
            return edit.put(with_version(model, change(select_version(model, selector))))

        return self._registry.edit(work)

    # ---- reading --------------------------------------------------------------------------------------------------

    def list(self, ref: str) -> tuple[GoldenOutput, ...]:
        """The golden outputs of a version, by name."""
        return tuple(sorted(self._version(ref).golden, key=lambda item: item.name))

    def _version(self, ref: str) -> VersionRecord:
        parsed = without_node(ref)
        return select_version(self._catalog.show(ref).model, parsed.selector)

    def content(self, ref: str, name: str) -> GoldenContent:
        """One with its values. Raises `NotFoundError` (`golden.not_found`), `StoreError`, `DataError`."""
        from quickserveml_tui.runtime.value_files import load_values

        golden = find_golden(ref, self._version(ref), name)
        inputs, outputs = (
            load_values(whole_blob(self._artifacts, digest, golden.name), limit_bytes=MAX_BYTES)
            for digest in (golden.inputs_digest, golden.outputs_digest)
        )
        return GoldenContent(golden, inputs, outputs)

    def export(self, ref: str, name: str, folder: str, *, overwrite: bool = False) -> tuple[Path, Path]:
        """Write inputs and expected outputs to `NAME.inputs.npz` and `NAME.outputs.npz` in a folder.

        The folder and those above it are made where they are missing. Raises `NotFoundError`, `StoreError`,
        `ConflictError` (`export.exists`), `UsageError` (`usage.path`) and `DataError` (`output.unwritable`).
        """
        from quickserveml_tui.storage.fs import write_all
        from quickserveml_tui.storage.outputs import check_output, output_file

        golden = find_golden(ref, self._version(ref), name)
        target = user_path(folder)
        paths = target / f"{golden.name}.inputs.npz", target / f"{golden.name}.outputs.npz"
        blobs = [self._artifacts.read_bytes(digest) for digest in (golden.inputs_digest, golden.outputs_digest)]
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"The folder “{safe_text(target.name, 80)}” cannot be made: {safe_text(error.strerror or '', 80)}.",
                hint="Choose another folder.",
                code="usage.path",
            ) from error
        for path in paths:  # both first, so that one that is in the way leaves none behind
            check_output(path, overwrite=overwrite)
        for path, data in zip(paths, blobs, strict=True):
            with output_file(path, overwrite=overwrite) as descriptor:
                write_all(descriptor, data)
        return paths

    # ---- verifying ------------------------------------------------------------------------------------------------

    def verify(
        self,
        ref: str,
        names: Sequence[str] = (),
        *,
        against: str = "",
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> GoldenReport:
        """Run these golden outputs again, or all of the version, in a runner, whatever passed before.

        With `against`, those of that version are run on this one. What fails is in the report, also a model that
        crashes its runner and files that are gone. Raises
        `NotFoundError`, `ModelUnrunnableError`, `StoreError` when the model cannot be opened, and `CancelledError`.
        """
        without_node(ref)
        resolved = self._catalog.resolve(ref, runnable=True, on_progress=on_progress, cancel=cancel)
        assert resolved.version is not None
        version = resolved.version
        owner = self._version(against) if against else version
        items = [find_golden(against or resolved.ref, owner, name) for name in dict.fromkeys(names)]
        wanted = items or sorted(owner.golden, key=lambda item: item.name)
        return self._gate.verify(
            resolved.ref, Path(resolved.path), version, wanted, again=True, on_progress=on_progress, cancel=cancel
        )
