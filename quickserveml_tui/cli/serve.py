"""`serve`."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.core.text import safe_lines

if TYPE_CHECKING:
    from quickserveml_tui.core.errors import StoreError
    from quickserveml_tui.core.serving import ServerRecord
    from quickserveml_tui.server.options import ServeOptions
    from quickserveml_tui.server.run import Announcement
    from quickserveml_tui.services.server_records import ServerRecords
    from quickserveml_tui.services.serving_plan import ServingPlan

_MIB = 1024 * 1024


def serve(
    models: Annotated[
        list[str] | None,
        Argument(
            metavar="[MODEL]...", help="Paths or references; several are served side by side.", show_default=False
        ),
    ] = None,
    *,
    every: Annotated[
        bool, Option("--all", help="Serve all models that run: prod, else the newest.", show_default=False)
    ] = False,
    profile: Annotated[
        str, Option("--profile", metavar="FILE", help="File that says what to serve and how.", show_default=False)
    ] = "",
    repository: Annotated[
        str,
        Option("--repository", metavar="FOLDER", help="Folder with NAME/VERSION/model.onnx.", show_default=False),
    ] = "",
    host: Annotated[
        str, Option("--host", metavar="ADDRESS", help="Address to listen on.", show_default="127.0.0.1")
    ] = "",
    port: Annotated[
        int | None, Option("--port", "-p", metavar="N", help="Port; 0 takes a free one.", show_default="8000")
    ] = None,
    grpc_port: Annotated[
        int | None, Option("--grpc-port", metavar="N", help="Port of gRPC; 0 takes a free one.", show_default="none")
    ] = None,
    workers: Annotated[
        int | None, Option("--workers", metavar="N", help="Processes that answer requests.", show_default="1")
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
    isolate: Annotated[
        list[str] | None,
        Option("--isolate", metavar="NAME", help="Run this model in a process of its own.", show_default=False),
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
    max_upload_mb: Annotated[
        int | None,
        Option(
            "--max-upload-mb",
            metavar="N",
            help="Largest model file that can be uploaded, in MiB.",
            show_default="4096",
        ),
    ] = None,
    request_timeout: Annotated[
        float | None,
        Option("--request-timeout", metavar="S", help="Longest wait of a request before it runs.", show_default="60"),
    ] = None,
    max_delay_us: Annotated[
        int | None,
        Option(
            "--max-delay-us", metavar="N", help="Wait for further requests of a shared run, in µs.", show_default="0"
        ),
    ] = None,
    cache_mb: Annotated[
        int | None, Option("--cache-mb", metavar="N", help="Memory for equal requests' answers.", show_default="0")
    ] = None,
    auth: Annotated[str, Option("--auth", metavar="KIND", help="auto, keys or none.", show_default="auto")] = "",
    allow_remote: Annotated[
        bool, Option("--allow-remote", help="Allow an address beyond this machine.", show_default=False)
    ] = False,
    allowed_host: Annotated[
        list[str] | None,
        Option("--allowed-host", metavar="NAME", help="Host name that requests may use.", show_default=False),
    ] = None,
    allowed_origin: Annotated[
        list[str] | None,
        Option("--allowed-origin", metavar="URL", help="Origin of pages that may ask.", show_default=False),
    ] = None,
    tls_cert: Annotated[
        str, Option("--tls-cert", metavar="FILE", help="PEM file with the certificate chain.", show_default=False)
    ] = "",
    tls_key: Annotated[
        str, Option("--tls-key", metavar="FILE", help="PEM file with its private key.", show_default=False)
    ] = "",
    access_log: Annotated[
        str, Option("--access-log", metavar="FILE", help="A line for every request; - is stderr.", show_default=False)
    ] = "",
    log_format: Annotated[
        str,
        Option(
            "--log-format",
            metavar="FORMAT",
            help="auto, json or text; auto is text on a terminal.",
            show_default="auto",
        ),
    ] = "",
    log_level: Annotated[
        str, Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.", show_default="info")
    ] = "",
    follow: Annotated[
        bool | None,
        Option("--follow/--no-follow", help="Take up new versions and moved aliases.", show_default="follow"),
    ] = None,
    docs: Annotated[
        bool | None, Option("--docs/--no-docs", help="Offer /docs, /redoc and /openapi.json.", show_default="docs")
    ] = None,
    verify: Annotated[
        bool | None,
        Option("--verify/--no-verify", help="Check golden outputs of the version first.", show_default="verify"),
    ] = None,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Serve models over HTTP by the Open Inference Protocol.

    Golden outputs of every version are checked first; one that fails keeps the server from starting.
    Listens on this machine only, unless --allow-remote and API keys say otherwise. /docs describes every route,
    /metrics is for Prometheus. Moved aliases and new versions are taken up while it runs. Ctrl-C stops taking
    requests, finishes those under way and ends; a second one drops them. Options go before the profile, and the
    profile before settings.
    """
    from quickserveml_tui.cli.serve_layers import Layers
    from quickserveml_tui.server.options import ServeOptions
    from quickserveml_tui.services.serving_profile import make_plan

    invocation.note(home=home, as_json=as_json)
    said = Layers(profile, invocation.settings.serve)
    options = ServeOptions(
        host=said.pick("host", host),
        port=said.pick("port", port),
        default_model=default_model,
        intra_op_threads=said.pick("threads", threads),
        queue_limit=said.pick("queue_limit", queue_limit),
        max_body_bytes=said.pick("max_body_mb", max_body_mb) * _MIB,
        max_upload_bytes=said.pick("max_upload_mb", max_upload_mb) * _MIB,
        workers=said.pick("workers", workers),
        grpc_port=said.pick("grpc_port", grpc_port),
        auth=said.pick("auth", auth),
        allow_remote=allow_remote,
        allowed_hosts=said.pick("allowed_hosts", tuple(allowed_host or ())),
        allowed_origins=said.pick("allowed_origins", tuple(allowed_origin or ())),
        tls_cert=said.pick_file("tls_cert", tls_cert),
        tls_key=said.pick_file("tls_key", tls_key),
        request_timeout_s=said.pick("request_timeout_s", request_timeout),
        max_delay_us=said.pick("max_delay_us", max_delay_us),
        cache_bytes=said.pick("cache_mb", cache_mb) * _MIB,
        isolate=tuple(isolate or ()),
        follow=said.pick("follow", follow),
        docs=said.pick("docs", docs),
        log_format=said.pick("log_format", log_format),
        log_level=said.pick("log_level", log_level.lower()),
        access_log=said.pick_file("access_log", access_log),
        home=str(invocation.home_path()),
    ).validate()
    plan = make_plan(
        tuple(models or ()),
        threads=options.intra_op_threads,
        max_delay_us=options.max_delay_us,
        isolate=options.isolate,
        default=options.default_model,
        every=every,
        repository=repository,
        profile=said.profile,
        folder=said.folder,
    )
    _run(plan, options, verify=said.pick("verify", verify))


def _run(plan: ServingPlan, options: ServeOptions, *, verify: bool) -> None:
    from quickserveml_tui.server.run import supervise
    from quickserveml_tui.services.home import open_workbench
    from quickserveml_tui.services.serving_resolve import LiveModels

    opened = partial(
        open_workbench,
        invocation.home_path(),
        read_only=invocation.settings.read_only,
        policy=invocation.policy(),
        trial=invocation.trial_policy(),
    )
    source = LiveModels(lambda: closing(opened()), verify=verify)
    with ExitStack() as stack:
        entry = _HomeEntry(options, stack)

        def announce(said: Announcement) -> None:
            entry.write(said)
            _announce(said, options)

        supervise(
            plan,
            source,
            options,
            announce=announce,
            on_models=entry.update,
            read_only=invocation.settings.read_only,
        )


class _HomeEntry:
    """Lets the other commands on this home find the server, and what it serves now, for as long as it runs."""

    def __init__(self, options: ServeOptions, stack: ExitStack) -> None:
        self._options = options
        self._stack = stack
        self._record: ServerRecord | None = None

    def write(self, said: Announcement) -> None:
        """Write the server down until the stack is closed."""
        from quickserveml_tui.core.errors import StoreError
        from quickserveml_tui.server.access import asks_for_keys

        if invocation.settings.read_only:
            return
        records = self._records()
        try:
            record = records.write_own(
                said.url,
                said.models,
                grpc_url=said.grpc_url,
                workers=self._options.workers,
                auth="keys" if asks_for_keys(self._options) else "none",
                command=shlex.join(["quickserveml", *(word for word in sys.argv[1:] if word != "--json")]),
            )
        except StoreError as error:  # it serves all the same
            _warn(error)
            return
        self._record = record
        self._stack.callback(records.remove, record.id)

    def update(self, models: tuple[str, ...]) -> None:
        """Write down what is served from now on, as `name@version`."""
        from dataclasses import replace

        from quickserveml_tui.core.errors import StoreError

        if self._record is None:
            return
        self._record = replace(self._record, models=models)
        try:
            self._records().write(self._record)
        except StoreError as error:
            _warn(error)

    @staticmethod
    def _records() -> ServerRecords:
        from quickserveml_tui.services.server_records import ServerRecords

        return ServerRecords(invocation.home_path())


def _warn(error: StoreError) -> None:
    from quickserveml_tui.cli.diagnostics import warn

    warn(error.message)


def _announce(said: Announcement, options: ServeOptions) -> None:
    import os

    from quickserveml_tui.server.access import asks_for_keys

    output = invocation.output
    if output.as_json:
        document: dict[str, object] = {
            "url": said.url,
            "models": list(said.models),
            "workers": options.workers,
            "auth": "keys" if asks_for_keys(options) else "none",
            "pid": os.getpid(),
        }
        if said.grpc_url:
            document["grpc_url"] = said.grpc_url
        if said.left_out:
            document["left_out"] = [
                {"name": item.name, "version": item.version, "reason": item.reason} for item in said.left_out
            ]
        output.document(document)
        invocation.has_answered = True
    else:
        output.line(safe_lines(said.text))
    output.stream.flush()
