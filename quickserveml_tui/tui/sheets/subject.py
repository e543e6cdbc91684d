"""What the inspector shows: a version of the catalog, or a file that is only looked at."""

from __future__ import annotations

from dataclasses import dataclass

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.compatibility import Compatibility
from quickserveml_tui.core.facts import ModelFacts, ModelHeader
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.golden import GoldenReport
from quickserveml_tui.core.models import ModelRecord, TrialReport, VersionRecord


@dataclass(frozen=True)
class Subject:
    """What the inspector shows."""

    ref: str
    """How it is called on the screen."""
    facts: ModelFacts
    model: ModelRecord | None = None
    version: VersionRecord | None = None
    history: tuple[BenchmarkRun, ...] = ()
    """Saved runs of all versions, newest first."""
    path: str = ""
    """The file, where it is not registered."""
    counting: bool = False
    """Whether totals are still to come: all that the header does not say or, once `counted`, the multiply-adds."""
    counted: bool = False
    """Whether `facts` have all that takes no shape inference."""
    problem: str = ""
    """Why the totals cannot be counted, in one sentence."""
    tried: TrialReport | None = None
    """What a trial of the file found, once it was tried."""
    compatibility: Compatibility | None = None
    """Its formats beside the runtime's, where that was asked."""
    report: GoldenReport | None = None
    """What the last check of its golden outputs found, in this session."""

    @property
    def identity(self) -> str:
        """What tells it from others: two files may have one name."""
        return self.path or self.ref

    @property
    def trial(self) -> TrialReport | None:
        """What the trial found; None for a file that was not tried."""
        return self.version.trial if self.version is not None else self.tried

    @property
    def feed(self) -> FeedSpec:
        """The overrides for made-up inputs that are kept with it."""
        return self.version.feed if self.version is not None else FeedSpec()


def facts_of_header(header: ModelHeader) -> ModelFacts:
    """What a header says, as facts without totals."""
    return ModelFacts(
        ir_version=header.ir_version, opsets=header.opsets, producer=header.producer, graph_name=header.graph_name,
        inputs=header.inputs, outputs=header.outputs, nodes=header.nodes, params=0, macs=None,
        size_bytes=header.size_bytes, functions=header.functions, metadata=header.metadata, doc=header.doc,
    )  # fmt: skip
