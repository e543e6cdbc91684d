"""Every example of README and of the pages about serving works as it stands, against a real server.

An example that cannot run in a test stands in `NOT_RUN` with the reason; a new one fails until it runs or stands there.
"""

import configparser
import csv
import importlib.util
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml
from docs_pages import Example, Reader, examples
from onnx import save
from server_models import tiny
from test_server_accept import make_certificate

from quickserveml_tui.core.catalog import AddRequest
from quickserveml_tui.core.serving import ServerPlan
from quickserveml_tui.services.home import open_workbench
from quickserveml_tui.services.profile_document import read_profile

pytestmark = pytest.mark.xdist_group("matrix")

PAGES = {
    # What a server that runs already serves, where the page does not start one.
    "README.md": (),
    "docs/serving.md": (),
    "docs/serving-models.md": (),
    "docs/access.md": (),
    "docs/deployment.md": (),
    "docs/metrics.md": (),
    "docs/monitor.md": ("resnet@1", "resnet@2"),
    "docs/api.md": ("iris.onnx",),
}
NOT_RUN = {
    "python3 -m pip install . && quickserveml demo": "fetches packages; the tour has tests of its own",
    "pip install 'quickserveml-tui[grpc]'": "fetches packages",
    "python3 -m pip install '.[dev]' && python3 -m pytest": "fetches packages and runs this very test",
    "quickserveml                          # the workbench": "needs a terminal; tests/tui have stories in one",
    "```promql": "every query is asked of a real Prometheus in test_server_metrics.py",
}
# Places of elsewhere, ids, and logs that go on: patterns, and what stands for them here.
STAND_INS = {"/(etc/qsml|var/log/qsml|opt/qsml/bin)/": "", " ID( --follow)?": ""}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with what the examples name, and a home with `resnet` in two versions and `digits`."""
    folder = tmp_path_factory.mktemp("reader") / "base"
    folder.mkdir()
    for name in ("tiny", "model", "iris", "digits"):
        save(tiny(), folder / f"{name}.onnx")
    other = tiny()
    other.graph.name = "second"
    save(other, folder / "second.onnx")
    make_certificate(folder)
    np.savez(folder / "inputs.npz", x=np.ones((2, 4), np.float32))
    np.savez(folder / "image.npz", x=np.ones((2, 4), np.float32))
    with (folder / "test.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b", "c", "d", "label"], [1, 2, 3, 4, 0], [4, 3, 2, 1, 2]])
    for home, names in ("home", ("model", "second")), ("new", ()):
        workbench = open_workbench(folder / home)
        for name in names:
            workbench.catalog.add(AddRequest(str(folder / f"{name}.onnx"), name="resnet", alias="prod"))
        workbench.catalog.add(AddRequest(str(folder / "digits.onnx"), name="digits"))
        workbench.close()
    return folder


def run_commands(example, reader):
    commands = [command for command in example.commands if not reason(command)]
    for name, stand_in in STAND_INS.items():
        commands = [re.sub(name, stand_in, command) for command in commands]
    if commands:
        reader.shell(commands)


def run_python(example, reader):
    if "kserve" in example.text and importlib.util.find_spec("kserve") is None:
        return
    assert reader.python(example.text).strip()


def load_profile(example, reader):
    path = reader.folder / "serve.toml"
    path.write_text(example.text)
    assert read_profile(path).models  # test_server_profile.py serves it


def run_unit(example, reader):
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read_string(example.text)
    assert unit["Service"]["ExecReload"] == "/bin/kill -HUP $MAINPID"
    command = unit["Service"]["ExecStart"]
    run_commands(Example(example.page, example.line, "sh", command), reader)


def use_configuration(example, reader):
    """The probes of Kubernetes, and the target of Prometheus."""
    document = yaml.safe_load(example.text)
    url = f"http://127.0.0.1:{reader.port}"
    for name in {"livenessProbe", "readinessProbe"} & set(document):
        assert httpx.get(url + document[name]["httpGet"]["path"]).status_code == 200
    for scrape in document.get("scrape_configs", ()):
        path = scrape.get("metrics_path", "/metrics")
        assert list(scrape["authorization"]) == ["credentials_file"]
        key = reader.shell(["quickserveml keys create prometheus --scope metrics"]).strip()
        assert httpx.get(url + path, headers={"Authorization": f"Bearer {key}"}).status_code == 200


RUN = {
    "sh": run_commands,
    "bash": run_commands,
    "console": run_commands,
    "python": run_python,
    "toml": load_profile,
    "ini": run_unit,
    "yaml": use_configuration,
}


def reason(text):
    """Why an example, or a line of one, cannot run here; empty if it can."""
    return next((NOT_RUN[beginning] for beginning in NOT_RUN if text.startswith(beginning)), "")


def texts(example):
    return [f"```{example.kind}"] if reason(f"```{example.kind}") else example.commands


def test_of_every_reason_there_is_an_example():
    found = [text for page in PAGES for example in examples(page) for text in texts(example)]
    assert {item for item in NOT_RUN if any(text.startswith(item) for text in found)} == set(NOT_RUN)


def follow(page, base, folder):
    """Do what a page says, from the first example to the last."""
    shutil.copytree(base, folder)
    reader = Reader(folder, folder / ("new" if page == "README.md" else "home"))
    try:
        for example in examples(page):
            if not reason(f"```{example.kind}"):
                start(PAGES[page], reader)
                RUN[example.kind](example, reader)
    finally:
        reader.close()


def start(references, reader):
    """Start a server in the background as the workbench does, unless it runs."""
    if references:
        workbench = open_workbench(reader.home)
        if workbench.servers.list():
            workbench.close()
            return
        refs = tuple(str(reader.folder / item) if item.endswith(".onnx") else item for item in references)
        workbench.servers.start(ServerPlan(refs, options=(("port", str(reader.port)),)))
        workbench.close()


@pytest.fixture(scope="module")
def followed(base, request):
    """What came of each page; they are followed side by side, since most of the time processes start."""
    pages = {item.callspec.params["page"] for item in request.session.items if _follows(item)}
    with ThreadPoolExecutor(3) as pool:
        yield {page: pool.submit(follow, page, base, base.parent / Path(page).stem) for page in PAGES if page in pages}


def _follows(item):
    return getattr(item, "function", None) is test_the_examples_of_a_page_work


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_work(page, followed):
    followed[page].result()


def test_the_guide_shows_every_kind_of_client():
    text = "".join(example.text for example in examples("docs/serving.md"))
    assert all(word in text for word in ("curl", "httpx", "tritonclient.http", "tritonclient.grpc", "kserve"))
