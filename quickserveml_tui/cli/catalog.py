"""`add`, `list` and `show`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from quickserveml_tui.cli.feeds import feed_spec
from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import (
    AbsentOption,
    BatchOption,
    DimOption,
    FormatOption,
    HomeOption,
    JsonOption,
    LengthOption,
    RangeOption,
    RefArgument,
    SeedOption,
    ShapeOption,
    WordOption,
)
from quickserveml_tui.core.errors import NotFoundError, UsageError
from quickserveml_tui.core.text import plural, safe_text

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import ModelView
    from quickserveml_tui.core.compatibility import Compatibility
    from quickserveml_tui.core.ports import CatalogPort, InspectPort

_MAX_FOUND = 1000


def parse_metadata(pairs: list[str] | None, *, removable: bool = False) -> dict[str, str | None]:
    """Metadata by key of `key=value` options; with `removable`, `key=` removes a key. Raises `UsageError`."""
    metadata: dict[str, str | None] = {}
    for pair in pairs or ():
        key, separator, value = pair.partition("=")
        if not separator or not key.strip():
            raise UsageError(f"“{safe_text(pair, 60)}” is not metadata.", hint="Write it like source=internal.")
        metadata[key.strip()] = value if value or not removable else None
    return metadata


def add(
    paths: Annotated[
        list[str], Argument(metavar="PATH...", help="Model files, or folders to look through.", show_default=False)
    ],
    *,
    name: Annotated[
        str, Option("--name", metavar="NAME", help="Name of the model; the file name by default.", show_default=False)
    ] = "",
    label: Annotated[
        str, Option("--label", metavar="LABEL", help="Label of the version, such as 1.2.0.", show_default=False)
    ] = "",
    tag: Annotated[
        list[str] | None, Option("--tag", metavar="TAG", help="Tag of the model; may be repeated.", show_default=False)
    ] = None,
    alias: Annotated[
        str, Option("--alias", metavar="ALIAS", help="Alias to point at the version.", show_default=False)
    ] = "",
    task: Annotated[str, Option("--task", metavar="TEXT", help="What the model does.", show_default=False)] = "",
    author: Annotated[str, Option("--author", metavar="TEXT", help="Who made it.", show_default=False)] = "",
    description: Annotated[
        str, Option("--description", metavar="TEXT", help="A sentence about it.", show_default=False)
    ] = "",
    framework: Annotated[
        str, Option("--framework", metavar="TEXT", help="What it was made with.", show_default=False)
    ] = "",
    license_name: Annotated[str, Option("--license", metavar="TEXT", help="Its licence.", show_default=False)] = "",
    meta: Annotated[
        list[str] | None,
        Option("--meta", metavar="KEY=VALUE", help="Metadata of the version; may be repeated.", show_default=False),
    ] = None,
    category: Annotated[
        list[str] | None,
        Option(
            "--category", metavar="CATEGORY", help="Category such as vision/ocr; may be repeated.", show_default=False
        ),
    ] = None,
    notes: Annotated[str, Option("--notes", metavar="TEXT", help="Notes on the version.", show_default=False)] = "",
    made_from: Annotated[
        str, Option("--made-from", metavar="TEXT", help="What it was trained or exported from.", show_default=False)
    ] = "",
    converted_by: Annotated[
        str, Option("--converted-by", metavar="TEXT", help="Tool that wrote the file.", show_default=False)
    ] = "",
    parent: Annotated[
        str, Option("--parent", metavar="REF", help="Version it was derived from, or a sha256.", show_default=False)
    ] = "",
    link: Annotated[
        bool, Option("--link", help="Leave the files where they are instead of copying them.", show_default=False)
    ] = False,
    dim: DimOption = None,
    shape: ShapeOption = None,
    value_range: RangeOption = None,
    batch: BatchOption = None,
    seed: SeedOption = 0,
    length: LengthOption = None,
    word: WordOption = None,
    absent: AbsentOption = None,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Add model files to the catalog.

    Each file is checked, copied while its digest is computed, and tried once in a process of its own. A file that is no
    ONNX model is rejected; a model that cannot run is kept with the reason, to be inspected. A file that is a version
    already gets the details that are named. Several files that are called alike, such as model.onnx, are named after
    their folders. What --dim and the like say of its inputs holds for the trial, and is kept.
    A folder is searched for model files. With --link a model is only usable for as long as its files stay as they are.
    """
    from quickserveml_tui.cli.adding import add_many, add_one, print_added
    from quickserveml_tui.core.catalog import AddRequest
    from quickserveml_tui.core.file_names import names_from_paths
    from quickserveml_tui.core.models import Lineage

    invocation.note(home=home, as_json=as_json)
    details: dict[str, Any] = {
        "name": name,
        "label": label,
        "tags": tuple(tag or ()),
        "alias": alias,
        "task": task,
        "author": author,
        "description": description,
        "framework": framework,
        "license": license_name,
        "metadata": {key: value or "" for key, value in parse_metadata(meta).items()},
        "categories": tuple(category or ()),
        "notes": notes,
        "lineage": Lineage(made_from, converted_by, parent),
        "link": link,
        "feed": feed_spec(dim, shape, value_range, batch, seed, lengths=length, words=word, absent=absent),
    }
    with invocation.workbench() as workbench:
        files = _model_files(workbench.catalog, paths)
        if len(files) > 1 and (name or label or alias):
            raise UsageError(
                f"--name, --label and --alias fit one file, not {len(files):,}.", hint="Add the files one by one."
            )
        if len(paths) == 1 and files == paths:
            print_added(add_one(workbench.catalog, AddRequest(path=files[0], **details)))
        else:
            names = [name] if name else names_from_paths(files)
            requests = zip(files, names, strict=True)
            add_many(
                workbench.catalog,
                [AddRequest(path=path, **details | {"name": unlike}) for path, unlike in requests],
            )


def _model_files(catalog: CatalogPort, paths: list[str]) -> list[str]:
    files: list[str] = []
    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112 - False also for NUL and names that are too long
            files.append(path)
            continue
        for hit in catalog.scan(path):
            files.append(hit.path)
            if len(files) > _MAX_FOUND:
                raise UsageError(f"There are more than {_MAX_FOUND:,} model files.", hint="Add a smaller folder.")
    if not files:
        where = f"below “{safe_text(paths[0], 200)}”" if len(paths) == 1 else "below these folders"
        raise NotFoundError(
            f"There is no model file {where}.",
            hint="A folder is searched for names that end in .onnx; a file of another name is added by its own path.",
            code="folder.no_models",
        )
    return files


def list_command(
    *,
    filter_text: Annotated[
        str,
        Option(
            "--filter",
            metavar="FILTER",
            help="Words and comparisons, such as 'vision AND params < 10M AND bench.p99_ms < 5'.",
            show_default=False,
        ),
    ] = "",
    sort: Annotated[
        str,
        Option(
            "--sort",
            metavar="KEY",
            help="name, created, updated, size, params, macs, nodes, versions, p50, p95, p99, throughput, task or "
            "state; a leading - sorts down.",
        ),
    ] = "name",
    limit: Annotated[int, Option("--limit", metavar="N", help="Models on a page, 1 to 1000.")] = 1000,
    page_token: Annotated[
        str, Option("--page-token", metavar="TOKEN", help="Where the page before ended.", show_default=False)
    ] = "",
    format_name: FormatOption = "text",
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the models of the catalog.

    A filter asks for names, tags, sizes, operators, dates and measured figures; docs/filters.md has all fields.
    """
    from quickserveml_tui.cli.reporting import check_format, print_report
    from quickserveml_tui.core.catalog import CatalogQuery
    from quickserveml_tui.reports.models import models_table

    output = invocation.note(home=home, as_json=as_json).output
    check_format(format_name)
    query = CatalogQuery(text=filter_text, sort=sort, limit=limit, page_token=page_token)
    with invocation.workbench() as workbench:
        page = workbench.catalog.list_models(query)
        problems = workbench.problems_met()
    if output.as_json:
        from quickserveml_tui.cli.documents import list_document

        output.document(list_document(page.models, page.next_page_token, page.total, problems))
    elif format_name != "text":
        print_report(models_table(page.models), format_name)
    elif not page.models:
        output.line("No model matches." if filter_text else "The catalog is empty: quickserveml add PATH adds a model.")
    else:
        from quickserveml_tui.cli.tables import print_table

        print_table(output, models_table(page.models))
        output.line()
        output.line(output.style(_footer(len(page.models), page.total, page.next_page_token), "muted"))


def _footer(shown: int, total: int, next_page_token: str) -> str:
    if not next_page_token:
        return plural(shown, "model")
    return f"{shown:,} of {plural(total, 'model')}; more with --page-token {next_page_token}"


def show(
    ref: RefArgument,
    *,
    trial: Annotated[
        bool, Option("--trial", help="Add all that the version's trial said; JSON always has it.", show_default=False)
    ] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show a model or a version of it."""
    output = invocation.note(home=home, as_json=as_json).output
    with invocation.workbench() as workbench:
        print_model(workbench.catalog, ref, workbench.inspect, trial=trial)
    output.stream.flush()


def print_model(catalog: CatalogPort, ref: str, inspect: InspectPort | None = None, *, trial: bool = False) -> None:
    """Print what `show` shows of a registered model; with `inspect`, also which of its formats the runtime lacks.

    With `trial` the report of the version's trial follows, or that of the latest version where none is named.
    """
    from quickserveml_tui.core.refs import ModelRef, parse_ref
    from quickserveml_tui.services.catalog_lookup import select_version

    view, parsed = catalog.show(ref), parse_ref(ref)
    # Looked up in the record: to show a version its files need not be there.
    selector = parsed.selector if isinstance(parsed, ModelRef) else ""
    number = select_version(view.model, selector).version if selector else None
    print_view_of(view, number, _compatibility(view, number, inspect), trial=trial)


def _compatibility(view: ModelView, number: int | None, inspect: InspectPort | None) -> Compatibility | None:
    """What the runtime takes of a version that does not run; one that runs has shown that it takes all."""
    from quickserveml_tui.cli.inspect import compatibility_of

    version = view.model.version(number) if number is not None else view.model.latest
    if inspect is None or version is None or version.runnable:
        return None
    return compatibility_of(inspect, f"{view.model.name}@{version.version}")


def print_view_of(
    view: ModelView, number: int | None, compatibility: Compatibility | None = None, *, trial: bool = False
) -> None:
    """Print a model, with one of its versions where a number is given."""
    output = invocation.output
    version = view.model.version(number) if number is not None else view.model.latest
    report = version.trial if trial and version is not None else None
    if output.as_json:
        from quickserveml_tui.cli.documents import show_document

        output.document(show_document(view, number, compatibility))
        return
    from quickserveml_tui.cli.model_text import print_view

    print_view(output, view, number, compatibility)
    if report is not None:
        from quickserveml_tui.cli.trial_text import print_trial

        output.line()
        print_trial(output, report)
