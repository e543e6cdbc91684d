"""Overrides that are kept with a version hold wherever it runs, and go where it goes."""

from __future__ import annotations

import zipfile
from dataclasses import replace

import msgspec
import pytest
from catalog_builders import save_linear

from quickserveml_tui.core.benchmarks import BenchmarkSpec
from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.services import bundle_format as form
from quickserveml_tui.services.home import open_workbench

FEED = FeedSpec(dims={"batch": 3}, ranges={"x": (-1.0, 1.0)}, seed=7)


@pytest.fixture
def open_home(tmp_path):
    homes = []

    def opened(name):
        homes.append(open_workbench(tmp_path / name))
        return homes[-1]

    yield opened
    for home in homes:
        home.close()


@pytest.fixture
def home(open_home, tmp_path):
    home = open_home("home")
    home.catalog.add(AddRequest(str(save_linear(tmp_path / "lin.onnx")), feed=FEED))
    return home


def document_of(path):
    with zipfile.ZipFile(path) as archive:
        return msgspec.json.decode(archive.read("bundle.json"))


def test_a_bundle_carries_them_and_an_import_tries_the_model_with_them(home, open_home, tmp_path):
    home.bundles.export("lin", str(tmp_path / "lin.qsml"))
    other = open_home("other")
    result = other.bundles.import_bundle(str(tmp_path / "lin.qsml"))
    assert (result.version.feed, result.version.runnable) == (FEED, True)
    other.bundles.export("lin", str(tmp_path / "again.qsml"))
    first, again = document_of(tmp_path / "lin.qsml"), document_of(tmp_path / "again.qsml")
    assert first["content_digest"] == again["content_digest"]


def test_a_version_that_is_there_keeps_its_own_and_takes_them_where_it_has_none(home, open_home, tmp_path):
    home.bundles.export("lin", str(tmp_path / "lin.qsml"))
    other = open_home("other")
    other.catalog.add(AddRequest(str(tmp_path / "lin.onnx")))
    assert other.bundles.import_bundle(str(tmp_path / "lin.qsml")).version.feed == FEED
    own = FeedSpec(seed=1)
    other.catalog.set_feed("lin", own)
    assert other.bundles.import_bundle(str(tmp_path / "lin.qsml")).version.feed == own


def test_a_bundle_without_any_is_written_as_older_programs_know_it(home, tmp_path):
    home.catalog.set_feed("lin", FeedSpec())
    home.bundles.export("lin", str(tmp_path / "lin.qsml"))
    assert "feed" not in document_of(tmp_path / "lin.qsml")


@pytest.mark.parametrize(
    "feed",
    [FeedSpec(seed=2**40), FeedSpec(batch=0), FeedSpec(dims={"n" * 5000: 1}), FeedSpec(dims={"n": -1}),
     FeedSpec(absent=tuple(map(str, range(20_000))))],
    ids=["seed", "batch", "name", "size", "number"],
)  # fmt: skip
def test_a_bundle_with_overrides_out_of_bounds_is_refused(home, tmp_path, feed):
    home.bundles.export("lin", str(tmp_path / "lin.qsml"))
    with zipfile.ZipFile(tmp_path / "lin.qsml") as archive:
        document = form.decode_document(archive.read("bundle.json"))
    assert document.feed == FEED
    with pytest.raises(DataError) as caught:
        form.decode_document(form.encode_document(msgspec.structs.replace(document, feed=feed)))
    assert caught.value.code == "bundle.invalid"


def test_a_backup_brings_them_back(home, tmp_path):
    home.backups.create(str(tmp_path / "backup"))
    home.catalog.set_feed("lin", FeedSpec(seed=1))
    home.backups.restore(str(tmp_path / "backup"))
    assert home.catalog.show("lin").model.latest.feed == FEED


def test_a_benchmark_measures_with_them_where_it_says_nothing_itself(home):
    spec = BenchmarkSpec(duration_s=0.05, warmup_s=0.0, max_runs=3)
    run = home.benchmark.run("lin", spec)
    assert run.spec.feed == FEED
    assert "--dim batch=3" in run.command
    own = replace(spec, feed=FeedSpec(dims={"batch": 2}))
    assert home.benchmark.run("lin", own).spec.feed == replace(FEED, dims={"batch": 2})
