"""`inspect` and `schema`."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import FormatOption, HomeOption, JsonOption, RefArgument
from quickserveml_tui.core.errors import DataError, RunnerError, UnavailableError, UsageError
from quickserveml_tui.core.text import safe_text

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import Resolved
    from quickserveml_tui.core.compatibility import Compatibility
    from quickserveml_tui.core.facts import ModelFacts
    from quickserveml_tui.core.models import TrialReport
    from quickserveml_tui.core.ports import InspectPort, Workbench


def inspect(
    ref: RefArgument,
    *,
    layers: Annotated[bool, Option("--layers", help="List the layers.", show_default=False)] = False,
    limit: Annotated[int, Option("--limit", metavar="N", help="Layers to list, 1 to 1000000.")] = 10_000,
    offset: Annotated[int, Option("--offset", metavar="N", help="Layers to skip.")] = 0,
    header: Annotated[
        bool, Option("--header", help="Say only what the file says at once, however large.", show_default=False)
    ] = False,
    trial: Annotated[bool, Option("--trial/--no-trial", help="Try whether an unregistered file runs.")] = True,
    format_name: FormatOption = "text",
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say what a model is: inputs, outputs, size, cost, layers.

    A registered model's trial was made when it was added; a file is tried now, once, in a process of its own.
    """
    from quickserveml_tui.cli.reporting import check_format

    invocation.note(home=home, as_json=as_json)
    if check_format(format_name) != "text" and not layers:
        raise UsageError("--format goes with --layers.", hint="For the facts use --json.")
    if header and layers:
        raise UsageError("--header and --layers do not go together.", hint="Ask for one of them.")
    if not 1 <= limit <= 1_000_000 or offset < 0:
        raise UsageError("The part of the layers is out of range.", hint="--limit 1 to 1000000, --offset from 0 on.")
    with invocation.workbench() as workbench:
        if header:
            from quickserveml_tui.cli.header_text import print_header

            print_header(invocation.output, ref, workbench.inspect.header(ref))
            return
        if layers:
            _print_layers(workbench, ref, offset, limit, format_name)
            return
        resolved = workbench.catalog.resolve(ref)
        facts = workbench.inspect.facts(ref)
        report = workbench.inspect.trial(ref) if trial or resolved.version else None
        compatibility = compatibility_of(workbench.inspect, ref)
    _print_facts(resolved, facts, report, compatibility)


def compatibility_of(inspect: InspectPort, ref: str) -> Compatibility | None:
    """The model beside what the runtime takes; None where the runtime cannot be asked."""
    try:
        return inspect.compatibility(ref)
    except (RunnerError, UnavailableError):
        return None


def _print_facts(
    resolved: Resolved, facts: ModelFacts, trial: TrialReport | None, compatibility: Compatibility | None
) -> None:
    output = invocation.output
    if output.as_json:
        from quickserveml_tui.cli.documents import inspect_document

        output.document(inspect_document(resolved, facts, trial, compatibility))
        return
    from quickserveml_tui.cli.model_text import facts_pairs, mismatch_lines, tensors_table
    from quickserveml_tui.cli.tables import print_table

    output.heading(resolved.ref)
    output.pairs([*facts_pairs(facts), ("Digest", resolved.digest)])
    output.line()
    if facts.inputs or facts.outputs:
        print_table(output, tensors_table(facts))
        output.line()
    if trial is None:
        output.line("Not tried: add it, or leave --no-trial away.")
    elif trial.outcome.value == "ready":
        output.line(f"{output.style('✓', 'ok')} It runs.")
    else:
        output.line(f"{output.style('!', 'warn')} It cannot be run: {safe_text(trial.reason)}")
        if invocation.verbose:
            from quickserveml_tui.cli.trial_text import detail_lines

            output.lines(detail_lines(trial))
    if trial is not None and trial.warning:
        output.line(f"{output.style('!', 'warn')} {safe_text(trial.warning, 1000)}")
    for text in mismatch_lines(compatibility):
        output.line(f"{output.style('!', 'warn')} {text}")
    for warning in facts.warnings:
        output.line(f"{output.style('!', 'warn')} {safe_text(warning)}")


def _print_layers(workbench: Workbench, ref: str, offset: int, limit: int, format_name: str) -> None:
    from quickserveml_tui.reports.models import layers_table

    output = invocation.output
    page = workbench.inspect.layers(ref, offset, limit)
    if output.as_json:
        from quickserveml_tui.cli.documents import layers_document

        output.document(layers_document(page))
    elif format_name != "text":
        from quickserveml_tui.cli.reporting import print_report

        print_report(layers_table(page.rows), format_name)
    else:
        from quickserveml_tui.cli.tables import print_table

        print_table(output, layers_table(page.rows))
        output.line()
        shown = f"{len(page.rows):,} of {page.total:,} layers"
        output.line(output.style(shown if page.offset == 0 else f"{shown}, from number {page.offset:,} on", "muted"))


def schema(
    ref: RefArgument,
    output_path: Annotated[
        str, Option("--output", metavar="FILE", help="Write it to a file.", show_default=False)
    ] = "",
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Print the JSON Schema of a model's request and response.

    With an example request, ready to be posted to a server.
    """
    import json

    output = invocation.note(home=home, as_json=as_json).output
    with invocation.workbench() as workbench:
        document: dict[str, Any] = workbench.inspect.schema(ref)
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    if output_path:
        write_file(output_path, text.encode())
    if output.as_json:
        output.document(document)
    elif output_path:
        output.line(f"Wrote {safe_text(output_path)}.")
    else:
        output.raw(text)


def write_file(path: str, data: bytes) -> None:
    """Write a result file as a whole. Raises `DataError` (`output.unwritable`)."""
    target = Path(path)
    temporary = target.parent / f".{uuid.uuid4().hex}.part"
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(target)
    except (OSError, ValueError) as error:
        with suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)
        raise DataError(
            f"{safe_text(path, 200)} cannot be written: {getattr(error, 'strerror', None) or safe_text(error, 80)}.",
            hint="Choose another file with --output.",
            code="output.unwritable",
        ) from error
