"""A job in three rows: what it is, a thin bar, and a note."""

from __future__ import annotations

from collections.abc import Sequence

from quickserveml_tui.charts.bars import progress_bar
from quickserveml_tui.charts.cells import Role, Row, Span
from quickserveml_tui.core.job_records import JobRecord
from quickserveml_tui.core.jobs import JobState
from quickserveml_tui.core.units import format_duration
from quickserveml_tui.tui.glyphs import Glyphs, glyphs_of
from quickserveml_tui.tui.widgets.ink import Inked, crop_row, say, two_edges

_LIVE = ("running", "held")


class ProgressRow(Inked):
    """One job. Running and held jobs have a bar; queued and ended ones take one row."""

    DEFAULT_CSS = "ProgressRow { height: auto; }"

    def __init__(self, kind: str = "", subject: str = "", *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.kind = kind
        self.subject = subject
        self.state = "queued"
        self.fraction: float | None = None
        self.right: tuple[Span, ...] = ()
        self.note: tuple[Span, ...] = ()
        self.keys: tuple[tuple[str, str], ...] = ()

    def show(
        self,
        *,
        kind: str | None = None,
        subject: str | None = None,
        state: str = "running",
        fraction: float | None = None,
        right: str | Sequence[Span] = "",
        note: str | Sequence[Span] = "",
        keys: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Replace what is shown.

        Args:
            kind: `benchmark`, `batch`, …
            subject: What it works on.
            state: `running`, `queued`, `held`, `done`, `failed` or `cancelled`.
            fraction: Done share between 0 and 1; None draws no bar.
            right: Words at the right edge: time left, `queued`, `done 10:28`.
            note: A row below the bar.
            keys: Keys that act on the job, with their verbs: `("x", "cancel")`.
        """
        before = self._signature()
        rows = self.natural_height(0)
        self.kind = self.kind if kind is None else kind
        self.subject = self.subject if subject is None else subject
        self.state, self.fraction, self.keys = state, fraction, tuple(keys)
        self.right = (say(right, Role.MUTED),) if isinstance(right, str) else tuple(right)
        self.note = ((say(note, Role.MUTED),) if note else ()) if isinstance(note, str) else tuple(note)
        if self._signature() != before:
            self.refresh(layout=self.natural_height(0) != rows)

    def show_job(self, job: JobRecord, *, keys: Sequence[tuple[str, str]] = ()) -> None:
        """Show a job's record."""
        progress = job.progress
        if job.state is JobState.RUNNING and progress.eta_s is not None:
            right: Sequence[Span] = (
                Span(format_duration(progress.eta_s), Role.STRONG, bold=True),
                Span(" left", Role.MUTED),
            )
        elif job.state is JobState.RUNNING:
            right = (say(progress.phase, Role.MUTED),)
        else:
            ended = job.ended_at[11:16]
            right = (say(f"{job.state.value} {ended}".rstrip(), Role.MUTED),)
        self.show(
            kind=job.kind,
            subject=job.subject,
            state=job.state.value,
            fraction=progress.fraction,
            right=right,
            note=progress_note(job),
            keys=keys if job.state in (JobState.RUNNING, JobState.QUEUED) else (),
        )

    def _signature(self) -> tuple[object, ...]:
        share = None if self.fraction is None else round(self.fraction * 200)
        return (self.kind, self.subject, self.state, share, self.right, self.note, self.keys)

    def natural_height(self, width: int) -> int:  # noqa: ARG002 - the height does not depend on it
        """One row, plus the bar of a running job, plus the note."""
        return 1 + int(self.state in _LIVE and self.fraction is not None) + int(bool(self.note or self.keys))

    def rows(self, width: int) -> Sequence[Row]:
        """Head, bar, note."""
        glyphs = glyphs_of(self)
        live = self.state in _LIVE
        glyph, role = _sign(self.state, glyphs)
        head = [
            Span(f"{glyph} ", role),
            say(self.kind, Role.STRONG if live else Role.BODY, bold=live),
            Span("  "),
            say(self.subject, Role.BODY if live else Role.MUTED),
        ]
        rows: list[Row] = [two_edges(head, self.right, width)]
        if live and self.fraction is not None:
            percent = f"{self.fraction * 100:.0f} %"
            bar_width = max(width - 2 - 7, 4)
            bar = progress_bar(self.fraction, bar_width, live=self.state == "running", charset=glyphs.charset)
            rows.append(two_edges([Span("  "), *bar], [Span(percent, Role.BODY)], width, gap=1))
        if self.note or self.keys:
            keys: list[Span] = []
            for key, verb in self.keys:
                keys += [Span("  "), say(key, Role.STRONG, bold=True), say(f" {verb}", Role.MUTED)]
            rows.append(two_edges([Span("  "), *self.note], keys[1:], width))
        return [crop_row(row, width) for row in rows]


def _sign(state: str, glyphs: Glyphs) -> tuple[str, Role]:
    return {
        "running": (glyphs.running, Role.ACCENT),
        "queued": (glyphs.queued, Role.MUTED),
        "held": (glyphs.held, Role.WARN),
        "done": (glyphs.ok, Role.OK),
        "failed": (glyphs.error, Role.ERROR),
        "cancelled": (glyphs.warn, Role.WARN),
        "lost": (glyphs.open, Role.WARN),
    }.get(state, (glyphs.queued, Role.MUTED))


def progress_note(job: JobRecord) -> tuple[Span, ...]:
    """`31,204 of 50,000 rows, 3 set apart`, or the outcome once it has ended."""
    if job.outcome:
        return (say(job.outcome, Role.ERROR if job.state is JobState.FAILED else Role.MUTED),)
    progress = job.progress
    spans: list[Span] = []
    if progress.unit and progress.total:
        spans = [
            Span(f"{progress.done:,.0f}", Role.BODY),
            say(f" of {progress.total:,.0f} {progress.unit}", Role.MUTED),
        ]
    if progress.failed:
        lead = ", " if spans else ""
        spans += [Span(lead, Role.MUTED), Span(f"{progress.failed:,}", Role.ERROR), Span(" set apart", Role.MUTED)]
    if progress.note:
        spans += [say((", " if spans else "") + progress.note, Role.MUTED)]
    return tuple(spans)
