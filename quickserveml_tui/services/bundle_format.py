"""What a bundle holds: its document, its members in their order, and how both are checked."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from quickserveml_tui.core.benchmarks import BenchmarkRun
from quickserveml_tui.core.errors import DataError, QuickServeError, UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.models import GoldenOutput, Lineage, VersionState
from quickserveml_tui.core.refs import check_category, check_label, check_name, check_tag, parse_version
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.catalog_edit import check_metadata, check_text
from quickserveml_tui.services.golden_names import MAX_RECORDS, check_tolerance
from quickserveml_tui.storage.artifact_files import is_digest

FORMAT = "quickserveml-bundle"
VERSION = 1
DOCUMENT = "bundle.json"
SUMS = "SHA256SUMS"
IMPORTED_FROM = "imported_from"
"""Key of a version's metadata that names where it was imported from; it belongs to the home, not to the bundle."""
MAX_DOCUMENT_BYTES = 32 << 20
MAX_SUMS_BYTES = 32 << 20
MAX_RUN_BYTES = 8 << 20
MAX_RUNS = 10_000

MAX_SOURCE = 255
_TIME = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z", re.ASCII)
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
T = TypeVar("T")
NO_FEED = FeedSpec()
MAX_FEED_ENTRIES = 10_000


class BundleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the model."""

    path: str
    digest: str
    size_bytes: int


class BundleRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One benchmark: its document, and the blob of its raw samples where there is one."""

    id: str
    samples: str = ""


class BundleDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`bundle.json`."""

    format: str = FORMAT
    format_version: int = VERSION
    program: str
    name: str
    version: int
    label: str = ""
    state: VersionState = VersionState.DRAFT
    created_at: str = ""
    source: str = ""
    notes: str = ""
    version_metadata: dict[str, str] = {}
    lineage: Lineage = msgspec.field(default_factory=Lineage)
    task: str = ""
    author: str = ""
    description: str = ""
    framework: str = ""
    license: str = ""
    tags: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    artifact: str
    """Digest of the whole model."""
    files: tuple[BundleFile, ...]
    """The model file first."""
    facts: dict[str, Any] = {}
    """For readers of the bundle; an import finds its own."""
    trial: dict[str, Any] = {}
    benchmarks: tuple[BundleRun, ...] = ()
    golden: tuple[GoldenOutput, ...] = ()
    feed: FeedSpec = NO_FEED
    """Overrides for synthetic inputs; left out where there are none, as in bundles of older programs."""
    content_digest: str = ""
    """Equal for equal content, whatever ids, numbers and times."""

    def members(self) -> dict[str, str]:
        """Every member but the document and the sums, in order, with its digest where the document names it."""
        names = {f"model/{file.path}": file.digest for file in self.files}
        for run in self.benchmarks:
            names[f"benchmarks/{run.id}.json"] = ""
            if run.samples:
                names[f"benchmarks/{run.id}.npz"] = run.samples
        for item in self.golden:
            names[f"golden/{item.name}/inputs.npz"] = item.inputs_digest
            names[f"golden/{item.name}/outputs.npz"] = item.outputs_digest
        return names


_VARYING = ("format_version", "program", "version", "created_at", "facts", "trial", "content_digest")


def with_content_digest(document: BundleDocument, run_digests: Sequence[str]) -> BundleDocument:
    """The document with the digest of what an import brings over unchanged; takes the digests of its runs."""
    carried = {key: value for key, value in _fields(document).items() if key not in _VARYING}
    samples = [run.samples for run in document.benchmarks]
    carried["benchmarks"] = sorted(zip(run_digests, samples, strict=True))
    data = msgspec.json.encode(carried, order="sorted")
    return msgspec.structs.replace(document, content_digest=hashlib.sha256(data).hexdigest())


def encode_document(document: BundleDocument) -> bytes:
    """`bundle.json`, for people too."""
    return msgspec.json.format(msgspec.json.encode(_fields(document), order="sorted"), indent=2) + b"\n"


def _fields(document: BundleDocument) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(document)
    if document.feed == NO_FEED:
        del fields["feed"]
    return fields


def encode_run(run: BenchmarkRun) -> bytes:
    """A benchmark without what only holds in its home; the digest of its samples stands in the document."""
    bare = replace(run, ref="", model="", version=None, origin="", command="", samples_digest="")
    return msgspec.json.encode(bare, order="sorted") + b"\n"


def encode_sums(digests: dict[str, str]) -> bytes:
    """`SHA256SUMS`, as `sha256sum -c` reads it."""
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()


def decode_sums(data: bytes) -> dict[str, str]:
    """Digest by member. Raises `DataError` (`bundle.invalid`)."""
    digests: dict[str, str] = {}
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError:
        raise invalid("its digests are not text") from None
    for line in lines:
        digest, separator, name = line.partition("  ")
        if not separator or not is_digest(digest) or not name or name in digests:
            raise invalid("its list of digests cannot be read")
        digests[name] = digest
    return digests


def decode_document(data: bytes) -> BundleDocument:
    """`bundle.json`, every value within the bounds of the catalog.

    Raises `DataError`: `bundle.newer_format`, `bundle.invalid`.
    """
    head = _decode(data, dict[str, Any], "it describes nothing")
    found = head.get("format_version")
    if head.get("format") != FORMAT or not isinstance(found, int):
        raise invalid("it does not say that it is one")
    if found != VERSION:
        raise DataError(
            f"The bundle has format version {found}, and this program reads version {VERSION}.",
            hint="Upgrade quickserveml-tui, or export it again with this version.",
            code="bundle.newer_format",
        )
    document = _decode(data, BundleDocument, "its description cannot be read")
    try:
        _check(document)
    except DataError:
        raise
    except QuickServeError as error:
        raise invalid(f"{error.message.rstrip('.')}") from error
    return document


def decode_run(data: bytes, run_id: str) -> BenchmarkRun:
    """A benchmark of a bundle. Raises `DataError` (`bundle.invalid`)."""
    run = _decode(data, BenchmarkRun, f"the benchmark {run_id} cannot be read")
    if run.id != run_id:
        raise invalid(f"the benchmark {run_id} has another id")
    if not _is_time(run.created_at):  # histories go by it, as text
        raise invalid(f"the benchmark {run_id} does not say when it was measured")
    try:
        run.spec.validate()
    except QuickServeError as error:
        raise invalid(f"the benchmark {run_id} has settings that none can have", error.hint) from error
    return run


def _is_time(text: str) -> bool:
    try:
        return bool(_TIME.fullmatch(text) and datetime.fromisoformat(text))
    except ValueError:  # the thirteenth month
        return False


def _decode(data: bytes, kind: type[T], why: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise invalid(why, str(error)) from error


def _check(document: BundleDocument) -> None:
    check_name(document.name)
    parse_version(str(document.version))
    if document.label:
        check_label(document.label)
    for tag in document.tags:
        check_tag(tag)
    for category in document.categories:
        check_category(category)
    for text in (document.task, document.author, document.framework, document.license):
        check_text("text", text)
    for text in (document.description, document.notes):
        check_text("text", text, is_long=True)
    for line in (document.lineage.made_from, document.lineage.converted_by, document.lineage.parent):
        check_text("lineage", line, is_long=True)
    for line in (document.program, document.created_at, *(golden.created_at for golden in document.golden)):
        check_text("text", line)
    # An export makes it fit for a terminal; only what that takes away from any text is refused here.
    if len(document.source) > MAX_SOURCE or any(unicodedata.category(char) in ("Cc", "Cs") for char in document.source):
        raise invalid("its source is too long, or holds control characters")
    _check_feed(document.feed)
    check_metadata(document.metadata)
    check_metadata(document.version_metadata)
    _check_files(document)


def _check_feed(feed: FeedSpec) -> None:
    feed.validate()
    words = [word for choices in feed.words.values() for word in choices]
    names = [*feed.dims, *feed.shapes, *feed.ranges, *feed.lengths, *feed.words, *feed.absent]
    if len(words) + len(names) > MAX_FEED_ENTRIES or any(len(text) > 4096 for text in (*words, *names)):
        raise invalid("it sets too many inputs, or some with names that are too long")


def _check_files(document: BundleDocument) -> None:
    for golden in document.golden:
        check_golden_name(golden.name)
        check_text("notes", golden.notes, is_long=True)
        check_tolerance(golden.rtol, golden.atol)
        for line in (golden.source, golden.runtime):
            check_text("text", line)
    digests = [document.artifact, *(file.digest for file in document.files)]
    digests += [item for golden in document.golden for item in (golden.inputs_digest, golden.outputs_digest)]
    digests += [run.samples for run in document.benchmarks if run.samples]
    if not document.files or not all(map(is_digest, digests)):
        raise invalid("it names no file of a model, or a digest that is none")
    if not all(_RUN_ID.fullmatch(run.id) for run in document.benchmarks):
        raise invalid("a benchmark has an id that cannot be one")
    if len(document.benchmarks) > MAX_RUNS or len(document.golden) > MAX_RECORDS:
        raise invalid("it lists too much")
    expected = len(document.files) + 2 * len(document.golden)
    expected += sum(2 if run.samples else 1 for run in document.benchmarks)
    if len(document.members()) != expected:
        raise invalid("it lists a file, a benchmark or golden outputs twice")


def check_golden_name(name: str) -> str:
    """`name`, if golden outputs can have it: the rule of tags. Raises `UsageError`."""
    try:
        return check_tag(name)
    except UsageError as error:
        message = error.message.replace("a valid tag", "a valid name of a golden output")
        raise UsageError(message, hint=error.hint, code=error.code) from error


def invalid(why: str, detail: str = "") -> DataError:
    """The error of a bundle whose content contradicts itself."""
    return DataError(
        f"The bundle is refused: {safe_text(why, 300)}.",
        hint="Nothing was stored; export the version again.",
        code="bundle.invalid",
        detail=detail[:2000],
    )
