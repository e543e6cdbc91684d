"""`predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from quickserveml_tui.cli.diagnostics import note
from quickserveml_tui.cli.feeds import feed_spec
from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import (
    AbsentOption,
    BatchOption,
    DimOption,
    HomeOption,
    JsonOption,
    LengthOption,
    RangeOption,
    SeedOption,
    ShapeOption,
    WordOption,
)
from quickserveml_tui.cli.remote import KeyOption, is_url
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.core.units import significant

if TYPE_CHECKING:
    from quickserveml_tui.core.predictions import Prediction


def predict(
    ref: Annotated[
        str,
        Argument(
            metavar="REF",
            help="Path of a model file, name[@version|@label|@alias], or http://HOST:PORT/v2/models/NAME[/versions/V].",
            show_default=False,
        ),
    ],
    *,
    inputs: Annotated[
        str, Option("--inputs", metavar="FILE", help="NPZ or JSON file with the inputs by name.", show_default=False)
    ] = "",
    output_path: Annotated[
        str, Option("--output", metavar="FILE", help="Write the outputs to an NPZ or JSON file.", show_default=False)
    ] = "",
    dim: DimOption = None,
    shape: ShapeOption = None,
    value_range: RangeOption = None,
    batch: BatchOption = None,
    seed: SeedOption = 0,
    length: LengthOption = None,
    word: WordOption = None,
    absent: AbsentOption = None,
    key: KeyOption = "",
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Run one inference on given or synthetic inputs.

    Without --inputs the inputs are made up: symbolic dims become 1, values follow the dtype and the seed. The address
    of a model on a server that speaks the Open Inference Protocol runs it there; the latency is that of the request.
    """
    invocation.note(home=home, as_json=as_json)
    feed = feed_spec(dim, shape, value_range, batch, seed, lengths=length, words=word, absent=absent)
    if inputs and Path(inputs).suffix.lower() not in (".npz", ".json"):
        raise UsageError("--inputs takes an NPZ or a JSON file.", hint="Its name must end in .npz or .json.")
    if inputs and feed != FeedSpec():
        raise UsageError("--inputs gives the inputs.", hint="Leave out the options that make inputs up, or --inputs.")
    if output_path and not output_path.lower().endswith((".npz", ".json")):
        raise UsageError("--output writes an NPZ or a JSON file.", hint="Its name must end in .npz or .json.")
    url = ref if is_url(ref) else ""
    if key and not url:
        raise UsageError("--key is for models on servers.", hint="Give the address of one, or leave --key out.")
    prediction = _run(ref, Path(inputs) if inputs else None, feed, key)
    if output_path:
        from quickserveml_tui.cli.arrays import to_file
        from quickserveml_tui.cli.inspect import write_file

        write_file(output_path, to_file(prediction, output_path))
    _print_prediction(prediction, output_path, url)


def _run(ref: str, inputs: Path | None, feed: FeedSpec, key: str) -> Prediction:
    from quickserveml_tui.cli.work import run_cancellable

    if is_url(ref):
        from quickserveml_tui.cli.remote import predict_remotely

        return run_cancellable(lambda cancel: predict_remotely(ref, inputs, feed, key, cancel=cancel))
    with invocation.workbench() as workbench:
        return run_cancellable(
            lambda cancel: workbench.predict.predict(
                ref, inputs=inputs, feed=feed, keep_inputs=not inputs, cancel=cancel
            )
        )


def _print_prediction(prediction: Prediction, output_path: str, url: str) -> None:
    from quickserveml_tui.cli.arrays import brief_values, prediction_document, preview

    output = invocation.output
    if output.as_json:
        document = prediction_document(prediction) | ({"output": output_path} if output_path else {})
        output.document(document | ({"url": safe_text(url)} if url else {}))
        return
    if prediction.synthetic:
        made = f": {brief_values(prediction.inputs)}" if prediction.inputs else ""
        note(f"The inputs are made up{made}. --inputs FILE takes your own.")
    for line in preview(prediction):
        output.line(line)
    output.line()
    output.line(
        f"{output.style('latency', 'muted')}  {significant(prediction.latency_ms)} {output.style('ms', 'muted')}"
    )
    if output_path:
        output.line(f"Wrote {output_path}.")
