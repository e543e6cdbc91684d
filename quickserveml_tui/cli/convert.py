"""`convert`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from quickserveml_tui.cli.diagnostics import warn
from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption, RefArgument
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from quickserveml_tui.core.catalog import AddResult
    from quickserveml_tui.core.compatibility import Conversion
    from quickserveml_tui.core.jobs import CancelToken, ProgressSink


def convert(
    ref: RefArgument,
    *,
    opset: Annotated[
        int | None, Option("--opset", metavar="N", help="Opset of ai.onnx to convert to.", show_default=False)
    ] = None,
    ir_version: Annotated[
        int | None, Option("--ir", metavar="N", help="IR version to write.", show_default=False)
    ] = None,
    output_path: Annotated[
        str, Option("--output", metavar="FILE", help="Write a file instead of a new version.", show_default=False)
    ] = "",
    overwrite: Annotated[bool, Option("--overwrite", help="Replace the file of --output.", show_default=False)] = False,
    name: Annotated[
        str, Option("--name", metavar="NAME", help="Model to add it to; its own by default.", show_default=False)
    ] = "",
    label: Annotated[
        str, Option("--label", metavar="LABEL", help="Label of the version, such as 1.2.0.", show_default=False)
    ] = "",
    seed: Annotated[int, Option("--seed", metavar="N", help="Seed of the inputs that both are run on.")] = 0,
    rtol: Annotated[float, Option("--rtol", metavar="X", help="Largest relative difference of outputs.")] = 1e-3,
    atol: Annotated[float, Option("--atol", metavar="X", help="Largest absolute difference beside it.")] = 1e-5,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Convert a model to another opset or IR version.

    By itself it takes the newest that the installed runtime takes, where the model is newer. The result is kept only if
    its outputs equal those of the original on the same inputs, and its golden outputs. A version becomes the next
    version; a file is written to --output.
    """
    from quickserveml_tui.core.compatibility import ConvertRequest
    from quickserveml_tui.core.refs import looks_like_path

    invocation.note(home=home, as_json=as_json)
    request = ConvertRequest(ref, opset, ir_version, name, label, seed, rtol, atol)
    if output_path and (name or label):
        raise UsageError("--name and --label go with a new version, not with --output.", hint="Leave them out.")
    if overwrite and not output_path:
        raise UsageError("--overwrite goes with --output.", hint="Name the file to write.")
    if not output_path and looks_like_path(ref):
        raise UsageError(
            "A file is converted into another file.",
            hint="Name that one with --output, or add the file to the catalog first.",
            code="usage.convert",
        )
    with invocation.workbench() as workbench:
        if output_path:
            written: Conversion = _followed(
                lambda progress, cancel: workbench.convert.write(
                    request, output_path, overwrite=overwrite, on_progress=progress, cancel=cancel
                )
            )
            _print_written(ref, output_path, written)
        else:
            added: AddResult = _followed(
                lambda progress, cancel: workbench.convert.convert(request, on_progress=progress, cancel=cancel)
            )
            _print_added(ref, added)


def _followed(work: Callable[[ProgressSink, CancelToken], Any]) -> Any:
    from quickserveml_tui.cli.work import Narrator, run_cancellable

    narrator = Narrator(quiet=True)
    try:
        return run_cancellable(lambda cancel: work(narrator.on_progress, cancel))
    finally:
        narrator.close()


def _document(ref: str, conversion: Conversion | None, **more: Any) -> dict[str, Any]:
    from quickserveml_tui.cli.documents import plain

    return {"from": safe_text(ref), **(plain(conversion) if conversion else {}), **more}


def _print_written(ref: str, path: str, conversion: Conversion) -> None:
    output = invocation.output
    if output.as_json:
        output.document(_document(ref, conversion, output=safe_text(path), version=None, existed=False, warning=""))
        return
    output.line(f"{output.style('✓', 'ok')} Wrote {output.style(safe_text(path), 'bold')}: {_changes(conversion)}.")
    output.line(f"Its outputs equal those of {safe_text(conversion.compared_with)}.")


def _print_added(ref: str, added: AddResult) -> None:
    from quickserveml_tui.cli.documents import version_document

    output = invocation.output
    if output.as_json:
        output.document(
            _document(
                ref,
                added.conversion,
                output="",
                version=version_document(added.model, added.version),
                existed=added.existed,
                warning=added.warning,
            )
        )
        return
    made = output.style(f"{added.model.name}@{added.version.version}", "bold")
    if added.existed:
        label = f" Its label is {added.version.label}." if added.version.label else ""
        output.line(f"{made} is what it converts to already; nothing was added.{label}")
        return
    changed = f": {_changes(added.conversion)}" if added.conversion else ""
    is_newest = len(added.model.versions) > 1 and added.version == added.model.latest
    newest = ", which is the newest version now" if is_newest else ""
    output.line(f"{output.style('✓', 'ok')} Added {made}{newest}{changed}.")
    if added.conversion:
        output.line(f"Its outputs equal those of {safe_text(added.conversion.compared_with)}.")
    if added.warning:
        warn(added.warning)
    if not added.version.runnable:
        warn(f"It cannot be run: {added.version.trial.reason}")


def _changes(conversion: Conversion) -> str:
    parts = [
        f"{what} {before} → {after}"
        for what, before, after in (
            ("opset", conversion.opset_before, conversion.opset),
            ("IR version", conversion.ir_before, conversion.ir_version),
        )
        if before != after
    ]
    return ", ".join(parts) or "opset of its functions"
