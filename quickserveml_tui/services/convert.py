"""Make versions that the installed runtime takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from quickserveml_tui.core.catalog import AddRequest, AddResult, Resolved
from quickserveml_tui.core.compatibility import Conversion, ConvertRequest, RuntimeLimits
from quickserveml_tui.core.errors import ConflictError, DataError, ModelError, NotFoundError, UsageError
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink, ignore_progress
from quickserveml_tui.core.models import GoldenOutput, Lineage, MetadataPatch, VersionRecord
from quickserveml_tui.core.ports import CatalogPort
from quickserveml_tui.core.refs import check_label, check_name
from quickserveml_tui.core.runners import RunnerPool
from quickserveml_tui.core.stores import ArtifactStore, RegistryEdit, RegistryStore
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import plain_number
from quickserveml_tui.services.catalog_edit import with_version
from quickserveml_tui.services.compatibility import STANDARD, LimitsService
from quickserveml_tui.services.convert_check import DEFAULT_FEED, Checked, ConversionCheck, Original
from quickserveml_tui.services.paths import user_path


class ConvertService:
    """`ConvertPort` on the catalog, the stores and warm runners."""

    def __init__(
        self,
        catalog: CatalogPort,
        registry: RegistryStore,
        artifacts: ArtifactStore,
        runners: RunnerPool,
        limits: LimitsService,
    ) -> None:
        self._catalog = catalog
        self._registry = registry
        self._artifacts = artifacts
        self._runners = runners
        self._limits = limits

    def convert(
        self, request: ConvertRequest, *, on_progress: ProgressSink = ignore_progress, cancel: CancelToken | None = None
    ) -> AddResult:
        """Convert a registered version, also one that does not run, and add the result as a new version.

        It is added when its outputs equal the original's (see `ConversionCheck`), with lineage, notes, the saved feed
        and the golden outputs that it gives. A result that is a version of the model already is not added again.
        Raises `UsageError` (`usage.convert`), `ModelError` (`convert.unneeded`, `convert.failed`, `convert.differs`,
        `convert.unverified`), and what `resolve` and `add` raise; nothing is kept then.
        """
        cancel = cancel or CancelToken()
        resolved = self._catalog.resolve(request.ref)
        if resolved.model is None or resolved.version is None:
            raise UsageError(
                "A file is converted into another file.",
                hint="Name that one with --output, or add the file to the catalog first.",
                code="usage.convert",
            )
        name = check_name(request.name) if request.name else resolved.model.name
        if request.label:
            check_label(request.label)
        original = self._original(resolved)
        with self._artifacts.stage() as staging:  # a private folder; refused here where nothing may be written
            target = (
                staging.folder
                / f"{Path(resolved.version.source or name).stem[:100].removesuffix('-converted')}-converted.onnx"
            )
            conversion, checked = self._make(original, target, request, on_progress, cancel)
            conversion = replace(conversion, compared_with=checked.sentence)
            equal = self._equal_version(name, target, request.label)
            if equal is not None:
                return replace(equal, conversion=conversion)
            added = self._catalog.add(
                AddRequest(
                    str(target),
                    name=name,
                    label=request.label,
                    task=resolved.model.task if name != resolved.model.name else "",
                    notes=_notes(original, conversion, checked, request),
                    lineage=Lineage(resolved.version.lineage.made_from, conversion.by, resolved.ref),
                ),
                on_progress=on_progress,
                cancel=cancel,
            )
        return replace(self._with_belongings(added, original, checked), conversion=conversion)

    def write(
        self,
        request: ConvertRequest,
        output: str,
        *,
        overwrite: bool = False,
        on_progress: ProgressSink = ignore_progress,
        cancel: CancelToken | None = None,
    ) -> Conversion:
        """Convert a file or a version into another file, with its external data beside it; checked as in `convert`.

        Raises as `convert` does, and `ConflictError` (`export.exists`), `UsageError` (`usage.path`) and `DataError`
        (`output.unwritable`) for the output.
        """
        from quickserveml_tui.services.convert_output import put_in_place
        from quickserveml_tui.storage.artifact_staging import private_folder
        from quickserveml_tui.storage.fs import TEMP_PREFIX
        from quickserveml_tui.storage.outputs import check_output

        cancel = cancel or CancelToken()
        path = user_path(output)
        check_output(path, overwrite=overwrite)
        resolved = self._catalog.resolve(request.ref)
        if Path(resolved.path) == path.resolve():
            raise UsageError("The output is the model itself.", hint="Choose another file.", code="usage.convert")
        original = self._original(resolved)
        try:
            with private_folder(path.parent, TEMP_PREFIX) as folder:
                conversion, checked = self._make(original, folder / path.name, request, on_progress, cancel)
                put_in_place(folder, path, overwrite=overwrite, cancel=cancel)
        except OSError as error:
            raise DataError(
                f"“{safe_text(path.name, 80)}” could not be written: {safe_text(error.strerror or error, 80)}.",
                hint="Check the free space and the permissions of its folder.",
                code="output.unwritable",
            ) from error
        return replace(conversion, compared_with=checked.sentence)

    # ---- steps ----------------------------------------------------------------------------------------------------

    def _original(self, resolved: Resolved) -> Original:
        version = resolved.version
        if version is not None:
            return Original(
                resolved.ref,
                Path(resolved.path),
                version.facts,
                version.feed,
                version.golden,
                version.trial.quarantined,
                version.runnable,
            )
        with self._runners.borrow() as runner:
            facts = runner.read_facts(Path(resolved.path))
        return Original(safe_text(Path(resolved.path).name, 80), Path(resolved.path), facts)

    def _make(
        self,
        original: Original,
        target: Path,
        request: ConvertRequest,
        on_progress: ProgressSink,
        cancel: CancelToken,
    ) -> tuple[Conversion, Checked]:
        """Write the converted model to `target` and compare it."""
        opset, ir_version = choose_formats(request, original, self._limits.limits())
        on_progress(Progress("converting"))
        with self._runners.borrow() as runner, _ended_by(cancel, runner.close):
            conversion = runner.convert(original.path, target, opset=opset, ir_version=ir_version)
        check = ConversionCheck(self._artifacts, self._runners, on_progress, cancel)
        return conversion, check.check(original, target, request)

    def _equal_version(self, name: str, target: Path, label: str) -> AddResult | None:
        """The version with these very files: adding them again would change what is said of that version.

        One without a label gets the one that was asked for. Raises `ConflictError` (`label.taken`) when it has another.
        """
        model = self._registry.find(name)
        content = _content(target)
        known = next((item for item in reversed(model.versions) if _is(item, content)), None) if model else None
        if model is None or known is None:
            return None
        ref = f"{model.name}@{known.version}"
        if label and known.label and label != known.label:
            raise ConflictError(
                f"It converts to {ref}, which has the label {known.label}.",
                hint=f"Change it with: quickserveml update {ref} --label {label}",
                code="label.taken",
            )
        warning = f"It equals {ref}; none was added."
        if label and not known.label:
            model = self._catalog.update(ref, MetadataPatch(label=label))
            known, warning = model.version(known.version) or known, f"{warning} It has the label {label} now."
        return AddResult(model, known, existed=True, warning=warning)

    def _with_belongings(self, added: AddResult, original: Original, checked: Checked) -> AddResult:
        """The new version with the feed and the golden outputs of the one it comes from, in one transaction."""
        if added.existed:
            return added
        if not (checked.golden or original.feed != DEFAULT_FEED):
            return replace(added, warning=_together(added.warning, checked.warning))
        lost: tuple[str, ...] = ()

        def work(edit: RegistryEdit) -> AddResult:
            model = edit.find(added.model.id)
            version = model.version(added.version.version) if model is not None else None
            if model is None or version is None:
                raise NotFoundError("The new version is gone.", hint="It was deleted.", code="version.not_found")
            whole = tuple(item for item in checked.golden if item.name not in lost)
            changed = replace(version, golden=whole, feed=original.feed)
            return replace(added, model=edit.put(with_version(model, changed)), version=changed)

        with self._artifacts.publishing():  # no collection while the blobs get another owner
            lost = tuple(item.name for item in checked.golden if not self._has(item))
            result = self._registry.edit(work)
        result = replace(result, warning=_together(added.warning, checked.warning, _gone(lost)))
        if result.version.runnable:
            return result
        ref = f"{result.model.name}@{result.version.version}"
        model = self._catalog.retry(ref).model  # tried without the feed that it needs
        return replace(result, model=model, version=model.version(result.version.version) or result.version)

    def _has(self, golden: GoldenOutput) -> bool:
        """Whether its files are still there: the original may have been purged since they were read."""
        return self._artifacts.has(golden.inputs_digest) and self._artifacts.has(golden.outputs_digest)


def _content(target: Path) -> tuple[str, frozenset[tuple[str, str]]]:
    """Digest of a converted model, and path and digest of each of its data files."""
    from quickserveml_tui.storage.artifacts import file_digest

    beside = (path for path in target.parent.rglob("*") if path.is_file() and path != target)
    data = frozenset((path.relative_to(target.parent).as_posix(), file_digest(path)[0]) for path in beside)
    return file_digest(target)[0], data


def _is(version: VersionRecord, content: tuple[str, frozenset[tuple[str, str]]]) -> bool:
    """Whether a version has this content; what its model file is called makes no difference."""
    model, *data = version.artifact.files
    return (model.digest, frozenset((file.path, file.digest) for file in data)) == content


def _together(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _gone(names: tuple[str, ...]) -> str:
    listed = ", ".join(safe_text(name, 80) for name in names[:5])
    return f"{plural(len(names), 'golden output')} left behind, as the files are gone: {listed}." if names else ""


def choose_formats(request: ConvertRequest, original: Original, limits: RuntimeLimits) -> tuple[int | None, int | None]:
    """Opset of `ai.onnx` and IR version to write; None leaves it to the model.

    Raises `UsageError` (`usage.convert`) for numbers that the runtime does not take, `ModelError` (`convert.unneeded`).
    """
    newest = limits.opsets.get(STANDARD)
    opset, ir_version = request.opset, request.ir_version
    _check_number("opset", "--opset", opset, newest, limits.runtime)
    _check_number("IR version", "--ir", ir_version, limits.ir_version, limits.runtime)
    if not all(0 <= value < math.inf for value in (request.rtol, request.atol)) or not 0 <= request.seed < 2**32:
        raise UsageError("Seed or tolerance is out of range.", hint="Seed: 0 to 4,294,967,295.", code="usage.convert")
    has_opset, has_ir = original.facts.opsets.get(STANDARD, 1), original.facts.ir_version
    if opset is None and newest is not None and has_opset > newest:
        opset = newest
    if ir_version is None and has_ir > limits.ir_version:
        ir_version = limits.ir_version
    if opset in (None, has_opset) and ir_version in (None, has_ir):
        raise ModelError(
            f"{original.ref} has opset {has_opset} and IR version {has_ir} already, and {limits.runtime} takes both.",
            hint="Name another opset with --opset, or another IR version with --ir.",
            code="convert.unneeded",
        )
    return opset, ir_version


def _check_number(what: str, option: str, number: int | None, newest: int | None, runtime: str) -> None:
    if number is None or (number >= 1 and (newest is None or number <= newest)):
        return
    raise UsageError(
        f"{runtime} takes no {what} {number}." if number > 0 else f"There is no {what} {number}.",
        hint=f"Give {option} a number from 1 to {newest}." if newest else f"Give {option} a number from 1 on.",
        code="usage.convert",
    )


def _notes(original: Original, conversion: Conversion, checked: Checked, request: ConvertRequest) -> str:
    changes = [
        f"{what} {before} → {after}"
        for what, before, after in (
            ("opset", conversion.opset_before, conversion.opset),
            ("IR version", conversion.ir_before, conversion.ir_version),
        )
        if before != after
    ]
    seed = request.seed or original.feed.seed
    how = f" (seed {seed}, tolerance {plain_number(request.rtol)} relative, {plain_number(request.atol)} absolute)"
    return (
        f"Converted from {original.ref}: {', '.join(changes) or 'functions only'}. "
        f"Its outputs equal those of {checked.sentence}{how if checked.source else ''}."
        f"{' ' if checked.warning else ''}{checked.warning}"
    )


@contextmanager
def _ended_by(cancel: CancelToken, end: Callable[[], None]) -> Iterator[None]:
    """Call `end` on cancel while the block runs: converting takes no token, and ends with its runner."""
    release = cancel.on_cancel(end)
    try:
        yield
    finally:
        release()
        cancel.raise_if_cancelled()
