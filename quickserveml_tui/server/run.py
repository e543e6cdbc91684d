"""Starts the server and stays until it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from quickserveml_tui.core.catalog import Resolved
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.serving import ServedEntry, ServedSettings, ServedStatus
from quickserveml_tui.core.text import plural
from quickserveml_tui.server import narration
from quickserveml_tui.server.access import advice, asks_for_keys, require_safe
from quickserveml_tui.server.grpc import require_grpc, reserve_port
from quickserveml_tui.server.listening import listen, url_of
from quickserveml_tui.server.logs import set_up_logging
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.server.supervisor import Supervisor
from quickserveml_tui.server.tls import tls_context
from quickserveml_tui.services.home import open_workbench
from quickserveml_tui.services.serving_plan import FixedModels, ModelSource, ServingPlan


class Announcement(NamedTuple):
    """What a server says once requests are taken."""

    url: str
    text: str
    """The URL, the models and an example, for people."""
    models: tuple[str, ...] = ()
    """`name@version` of everything it serves."""
    grpc_url: str = ""
    left_out: tuple[ServedStatus, ...] = ()
    """What was asked for and is not served, with the reasons."""


Announce = Callable[[Announcement], None]
logger = logging.getLogger(__name__)

_EXAMPLE_CHARS = 200
_LEFT_OUT_LINES = 20


def curl_for(options: ServeOptions) -> str:
    """`curl` with what this server wants of its callers: trust in its certificate, and a key, which is only named."""
    trust = f" --cacert {shlex.quote(options.tls_cert)}" if options.tls_cert else ""
    return f"curl{trust}" + (' -H "Authorization: Bearer $QSML_API_KEY"' if asks_for_keys(options) else "")


def _try(url: str, supervisor: Supervisor, curl: str = "curl") -> str:
    """A command that infers with made-up values: a whole one, or one that fetches an example too long to print."""
    example, default = supervisor.example, supervisor.default
    if not example:
        return f"{curl} {url}/v2/models/{default.name}" if default is not None else f"{curl} {url}/v2"
    if len(example) > _EXAMPLE_CHARS:
        take = "import json,sys; print(json.dumps(json.load(sys.stdin)['examples']['predict']))"
        return f'{curl} -s {url}/model/schema | python3 -c "{take}" | {curl} {url}/predict -d @-'
    return f"{curl} {url}/predict -d {shlex.quote(example)}"


def _announcement(supervisor: Supervisor, url: str, options: ServeOptions) -> Announcement:
    entries = _in_order(supervisor.state.entries)
    default = supervisor.default
    lines = [f"Serving {plural(len(entries), 'model')} at {url} (Ctrl+C stops it)"]
    for entry in entries:
        mark = ", default" if default is not None and entry.key == default.key else ""
        lines.append(f"  {entry.name} version {entry.version}{mark}")
    left_out = supervisor.left_out
    lines += [f"  not served: {narration.left_out(item)}" for item in left_out[:_LEFT_OUT_LINES]]
    if len(left_out) > _LEFT_OUT_LINES:
        lines.append(f"  not served: {len(left_out) - _LEFT_OUT_LINES} more, each with its reason in the log")
    grpc_url = ""
    if supervisor.grpc_port:
        grpc_url = f"{url.partition('://')[2].rpartition(':')[0]}:{supervisor.grpc_port}"
        lines.append(f"gRPC     {grpc_url}")
    if options.docs:
        lines.append(f"Docs     {url}/docs")
    lines += [f"Metrics  {url}/metrics", f"Try      {_try(url, supervisor, curl_for(options))}"]
    return Announcement(url, "\n".join(lines), _names(entries), grpc_url, left_out)


def _names(entries: Sequence[ServedEntry]) -> tuple[str, ...]:
    return tuple(f"{entry.name}@{entry.version}" for entry in _in_order(entries))


def _in_order(entries: Sequence[ServedEntry]) -> list[ServedEntry]:
    return sorted(entries, key=lambda entry: (entry.name, int(entry.version)))


def supervise(
    plan: ServingPlan,
    source: ModelSource,
    options: ServeOptions,
    announce: Announce | None = None,
    *,
    on_models: Callable[[tuple[str, ...]], None] | None = None,
    read_only: bool = False,
) -> None:
    """Serve what a plan asks for until SIGINT or SIGTERM, then finish what is under way and return.

    `announce` is called once requests are taken, `on_models` in a thread with `name@version` of everything that is
    served whenever that has changed since. Raises `NotPermittedError` for a host that must not be listened on,
    `UnavailableError` for a port that cannot be had or workers that do not start, `CancelledError` after a second
    SIGINT, and what looking and loading raise.
    """
    options.validate()
    _check_access(options)
    set_up_logging(options.log_level, options.log_format)
    for sentence in advice(options):
        logger.warning(sentence)
    with contextlib.ExitStack() as stack:
        stack.callback(source.close)
        listener = stack.enter_context(contextlib.closing(listen(options)))
        url = url_of(listener, secure=bool(options.tls_cert))
        if options.grpc_port is not None:
            require_grpc()
            held = stack.enter_context(contextlib.closing(reserve_port(options.host, options.grpc_port)))
            options = replace(options, grpc_port=held.getsockname()[1])
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quickserveml-")))

        def on_ready(supervisor: Supervisor) -> None:
            entries, processes = supervisor.state.entries, plural(options.workers, "worker process", "worker processes")
            logger.info("Serving %s at %s, %s", plural(len(entries), "model"), url, processes)
            if announce is not None:
                announce(_announcement(supervisor, url, options))

        def tell_models(entries: Sequence[ServedEntry]) -> None:
            if on_models is not None:
                on_models(_names(entries))

        async def main() -> None:
            await Supervisor(
                plan,
                source,
                options,
                folder=folder,
                listeners=[listener.fileno()],
                on_ready=on_ready,
                stop_listening=listener.close,
                on_models=tell_models,
                read_only=read_only,
            ).run()

        with asyncio.Runner() as runner:
            runner.run(main())


def _check_access(options: ServeOptions) -> None:
    """Refuse what would open the server by mistake, and files of TLS that cannot be used; see `require_safe`."""
    with contextlib.ExitStack() as stack:
        workbench = None
        if options.home and asks_for_keys(options):
            workbench = stack.enter_context(contextlib.closing(open_workbench(Path(options.home), read_only=True)))
        require_safe(options, workbench.keys if workbench is not None else None)
    tls_context(options)


def serve(models: Sequence[Resolved], options: ServeOptions, announce: Announce | None = None) -> None:
    """Serve models that were resolved and tried before; see `supervise`."""
    options.validate()
    if not models:
        raise UsageError("No model to serve.", hint="Name at least one model.", code="serve.no_model")
    settings = ServedSettings(options.intra_op_threads, max_delay_us=options.max_delay_us)
    plan = FixedModels.plan(models, settings, options.default_model)
    supervise(plan, FixedModels(models), options, announce)
