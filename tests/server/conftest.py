"""One server with all models for most tests; tests that stop or strain a server start their own."""

import pytest
from server_models import build_all
from server_process import running


@pytest.fixture(scope="session")
def model_paths(tmp_path_factory):
    return build_all(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def server(model_paths, tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "server.log"
    with running(model_paths.values(), log, default_model="tiny") as process:
        yield process
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="session")
def strict_server(model_paths, tmp_path_factory):
    """Small limits and short patience, on asyncio's own loop."""
    log = tmp_path_factory.mktemp("server") / "strict.log"
    limits = {"max_body_bytes": 4096, "head_timeout_s": 1, "body_timeout_s": 1, "keep_alive_s": 2, "loop": "asyncio"}
    with running([model_paths["tiny"], model_paths["slow"]], log, default_model="tiny", **limits) as process:
        yield process
    assert "Traceback" not in log.read_text()
