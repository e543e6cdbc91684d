"""How a model file comes in: sniff, copy, facts, trial; nothing is kept unless all of it went well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from quickserveml_tui.core.errors import ModelError, RunnerCrashedError, RunnerTimeoutError, StoreError
from quickserveml_tui.core.facts import ModelFacts
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.file_names import is_generic
from quickserveml_tui.core.jobs import CancelToken, Progress, ProgressSink
from quickserveml_tui.core.models import ArtifactManifest, TrialOutcome, TrialReport
from quickserveml_tui.core.runners import ModelRunner, RunnerPool
from quickserveml_tui.core.stores import ArtifactStore
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.graph.sniff import check_open, open_file
from quickserveml_tui.services.catalog_bring import Bringing
from quickserveml_tui.services.catalog_feed import check_feed

T = TypeVar("T")
MAX_STORED_INT = 2**63 - 1
MAX_DOC = 10_000
MAX_VALUE = 4096
MAX_ENTRIES = 500
MAX_IO = 100_000
MAX_NAMES = 2_000_000
MAX_DATA_FILES = 9_999
DEFAULT_FEED = FeedSpec()


@dataclass(frozen=True, slots=True)
class Intake:
    """A model file that is in the artifact store, and what was found out about it."""

    artifact: ArtifactManifest
    facts: ModelFacts
    trial: TrialReport
    source: str
    """Name of the file it came from."""


def locate(path: str) -> Path:
    """The real file behind a path that a user gave, links followed.

    Raises `ModelError` for a path that leads to no model file (`model.missing`, `model.not_a_file`, …).
    """
    given = _given(path)
    with open_file(given) as file:
        check_open(file, given)
        return file.path


def _given(path: str) -> Path:
    try:
        return Path(path).expanduser().absolute()
    except (ValueError, RuntimeError) as error:
        raise _missing(path) from error


def take_in(
    path: str,
    artifacts: ArtifactStore,
    runners: RunnerPool,
    *,
    accept: Callable[[TrialReport], None],
    keep: Callable[[Intake], T],
    on_progress: ProgressSink,
    cancel: CancelToken,
    link: bool = False,
    feed: FeedSpec = DEFAULT_FEED,
) -> T:
    """Copy a model file and its external data into the store, try it in a runner, and `keep` it.

    The file is opened once, and sniffed and copied from there: whoever replaces it meanwhile changes nothing but that
    it is refused. With `link` the files are hashed and stay where they are. `accept` may refuse the trial's report by
    raising. `keep` names the artifact in the registry while no collection can take it; what it returns is returned.
    Raises `ModelError` when the model is rejected, `UsageError` for a `feed` that does not fit; nothing is kept then.
    """
    on_progress(Progress("checking"))
    given = _given(path)
    with open_file(given) as source:
        check_open(source, given)
        with artifacts.stage() as staging:
            bring = Bringing(staging, source, link, on_progress, cancel)
            facts, report = _examine(runners, bring, feed)
            cancel.raise_if_cancelled()
            _check_admitted(report)
            accept(report)
            kept = storable_facts(facts)
            on_progress(Progress("storing"))
            with artifacts.publishing():
                manifest = staging.commit()
                if manifest.is_linked:
                    _check_unchanged(artifacts, manifest)
                return keep(Intake(manifest, kept, report, _source_name(path)))


def _examine(runners: RunnerPool, bring: Bringing, feed: FeedSpec) -> tuple[ModelFacts, TrialReport]:
    model = bring.model()
    with runners.borrow() as runner:
        facts = _read(runner, bring, model)
        check_feed(facts.inputs, feed)
        bring.on_progress(Progress("trial"))
        return facts, runner.trial(model, feed, nodes=facts.nodes, cancel=bring.cancel)


def _check_admitted(report: TrialReport) -> None:
    if report.outcome is TrialOutcome.REJECTED:
        raise ModelError(
            f"The model was rejected: {safe_text(report.reason, 350)}",
            hint="Nothing was stored; correct the file, then add it again.",
            code="model.rejected",
            detail=report.detail,
        )


def _check_unchanged(artifacts: ArtifactStore, manifest: ArtifactManifest) -> None:
    """Refuse files that stay where they are and are no longer what was hashed before the trial."""
    try:
        artifacts.open_path(manifest)
    except StoreError as error:
        if error.code not in ("artifact.missing", "artifact.changed"):
            raise
        raise ModelError(
            "The file changed while it was tried.",
            hint="Wait until whatever writes it has finished, or add a copy of it without --link.",
            code="model.changed",
        ) from error


def _read(runner: ModelRunner, bring: Bringing, model: Path) -> ModelFacts:
    """Bring in the external data and read the facts; a runner that dies over it rejects the model."""
    cancel = bring.cancel
    release = cancel.on_cancel(runner.close)  # these calls take no token: ending the runner ends them
    try:
        # Asked where the data lies: a file that is put there meanwhile is refused by `check_in_place`.
        names = runner.external_files(bring.source.path)
        if len(names) > MAX_DATA_FILES:
            raise ModelError(
                f"The model was rejected: its data lies in {len(names):,} files.",
                hint=f"Save it again with all data in one file; {MAX_DATA_FILES:,} is the most.",
                code="model.rejected",
            )
        for name in names:
            bring.data(name)
        bring.check_in_place()
        bring.on_progress(Progress("reading"))
        return runner.read_facts(model)
    except (RunnerCrashedError, RunnerTimeoutError) as error:
        cancel.raise_if_cancelled()
        signal = f" ({error.signal})" if isinstance(error, RunnerCrashedError) and error.signal else ""
        what = "took too long" if isinstance(error, RunnerTimeoutError) else f"killed the runner{signal}"
        raise ModelError(
            f"The model was rejected: reading it {what}.",
            hint="Nothing was stored; the file is broken or hostile.",
            code="model.rejected",
            detail=error.detail or error.message,
        ) from error
    finally:
        release()


def storable_facts(facts: ModelFacts) -> ModelFacts:
    """The facts within the bounds of a registry document; what was cut is named in the warnings.

    Raises `ModelError` (`model.rejected`) for sizes that no machine can hold, and for too many or too long names.
    """
    names = [spec.name for spec in (*facts.inputs, *facts.outputs)]
    dims = [dim for spec in (*facts.inputs, *facts.outputs) for dim in spec.shape or ()]
    too_large = facts.params > MAX_STORED_INT or any(isinstance(dim, int) and abs(dim) > MAX_STORED_INT for dim in dims)
    if too_large or len(names) + len(dims) > MAX_IO or sum(map(len, names)) > MAX_NAMES:
        raise ModelError(
            "The model was rejected: its declared sizes or the number of its inputs and outputs are out of all bounds.",
            hint="Nothing was stored; the file is broken or hostile.",
            code="model.rejected",
        )
    cut = []
    if len(facts.doc) > MAX_DOC:
        cut.append("documentation")
    if len(facts.metadata) > MAX_ENTRIES or any(
        len(text) > MAX_VALUE for item in facts.metadata.items() for text in item
    ):
        cut.append("metadata")
    if len(facts.op_types) > MAX_ENTRIES:
        cut.append("operators")
    warnings = [warning[:MAX_VALUE] for warning in facts.warnings[:MAX_ENTRIES]]
    if cut:
        warnings.append(f"The catalog keeps only a part of its {', '.join(cut)}; inspect the model to see all.")
    most_used = sorted(facts.op_types.items(), key=lambda item: -item[1])[:MAX_ENTRIES]
    return replace(
        facts,
        macs=None if facts.macs is None or facts.macs > MAX_STORED_INT else facts.macs,
        doc=facts.doc[:MAX_DOC],
        producer=facts.producer[:MAX_VALUE],
        graph_name=facts.graph_name[:MAX_VALUE],
        metadata={key[:MAX_VALUE]: value[:MAX_VALUE] for key, value in list(facts.metadata.items())[:MAX_ENTRIES]},
        op_types={op[:MAX_VALUE]: count for op, count in most_used},
        opsets={domain[:MAX_VALUE]: version for domain, version in list(facts.opsets.items())[:MAX_ENTRIES]},
        warnings=tuple(warnings),
    )


def _source_name(path: str) -> str:
    """The file's name, with that of its folder where many files are called like it."""
    file = Path(path)
    name = f"{file.parent.name}/{file.name}" if is_generic(file) and file.parent.name else file.name
    return name.encode("utf-8", "replace").decode()[-255:]


def _missing(path: str) -> ModelError:
    return ModelError(
        f"There is no file “{safe_text(path, 200)}”.", hint="Check the path, then try again.", code="model.missing"
    )
