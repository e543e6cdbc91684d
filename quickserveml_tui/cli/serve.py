"""`serve`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption, VerifyOption
from quickserveml_tui.core.errors import ModelUnrunnableError
from quickserveml_tui.core.models import TrialOutcome
from quickserveml_tui.core.text import safe_lines, safe_text

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import Resolved
    from quickserveml_tui.core.ports import Workbench
    from quickserveml_tui.server.options import ServeOptions
    from quickserveml_tui.server.run import Announcement

_MIB = 1024 * 1024


def serve(
    models: Annotated[
        list[str],
        Argument(metavar="MODEL...", help="Paths or references; several are served side by side.", show_default=False),
    ],
    *,
    host: Annotated[
        str, Option("--host", metavar="ADDRESS", help="Loopback address to listen on.", show_default="127.0.0.1")
    ] = "",
    port: Annotated[
        int | None, Option("--port", "-p", metavar="N", help="Port; 0 takes a free one.", show_default="8000")
    ] = None,
    default_model: Annotated[
        str,
        Option(
            "--default-model",
            metavar="NAME",
            help="Model behind /predict and /model/…; the first one by default.",
            show_default=False,
        ),
    ] = "",
    threads: Annotated[
        int | None, Option("--threads", metavar="N", help="Intra-op threads of each model.", show_default="1")
    ] = None,
    queue_limit: Annotated[
        int | None,
        Option(
            "--queue-limit", metavar="N", help="Requests that may wait for a model; more get 503.", show_default="1024"
        ),
    ] = None,
    max_body_mb: Annotated[
        int | None, Option("--max-body-mb", metavar="N", help="Largest request body in MiB.", show_default="64")
    ] = None,
    verify: VerifyOption = True,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Serve models over HTTP by the Open Inference Protocol.

    Golden outputs of every version are checked first; one that fails keeps the server from starting.
    Listens on this machine only. /docs describes every route, /metrics is for Prometheus. Ctrl-C stops taking requests,
    finishes those under way and ends.
    """
    from quickserveml_tui.server.options import ServeOptions

    invocation.note(home=home, as_json=as_json)
    defaults = invocation.settings.serve
    options = ServeOptions(
        host=host or defaults.host,
        port=port if port is not None else defaults.port,
        default_model=default_model,
        intra_op_threads=threads if threads is not None else defaults.threads,
        queue_limit=queue_limit if queue_limit is not None else defaults.queue_limit,
        max_body_bytes=(max_body_mb if max_body_mb is not None else defaults.max_body_mb) * _MIB,
    ).validate()
    with ExitStack() as stack:
        with invocation.workbench() as workbench:
            resolved = [_admit(workbench, ref, verify=verify) for ref in models]
            stack.enter_context(workbench.holding(resolved, "serve"))
        _run(resolved, options)


def _admit(workbench: Workbench, ref: str, *, verify: bool) -> Resolved:
    """A model that may be opened in the server's own process: it ran in a runner before, or does so now.

    Raises `GateError` when it does not give its golden outputs.
    """
    from quickserveml_tui.cli.work import run_cancellable

    resolved = run_cancellable(lambda cancel: workbench.catalog.resolve(ref, runnable=True, cancel=cancel))
    if verify and resolved.version is not None and resolved.version.golden:
        from quickserveml_tui.services.golden_gate import refusal

        report = run_cancellable(lambda cancel: workbench.golden.verify(resolved.ref, cancel=cancel))
        if not report.ok:
            raise refusal(report, "it is not served")
    if resolved.version is None:
        trial = run_cancellable(lambda cancel: workbench.inspect.trial(ref, cancel=cancel))
        if trial.outcome is not TrialOutcome.READY:
            raise ModelUnrunnableError(
                f"{safe_text(Path(resolved.path).name, 80)} cannot be served: {trial.reason}",
                hint="`quickserveml inspect` shows what it is.",
                detail=trial.detail,
            )
    return resolved


def _run(models: list[Resolved], options: ServeOptions) -> None:
    from quickserveml_tui.server.run import serve as run_server

    run_server(models, options, announce=lambda said: _announce(said, models))


def _announce(said: Announcement, models: list[Resolved]) -> None:
    output = invocation.output
    if output.as_json:
        output.document({"url": said.url, "models": [item.ref for item in models]})
    else:
        output.line(safe_lines(said.text))
    output.stream.flush()
