"""Homes for the tests of maintenance: models written straight into the stores, files damaged on purpose."""

from __future__ import annotations

from pathlib import Path

from catalog_builders import READY, make_facts

from quickserveml_tui.core.benchmarks import (
    BenchmarkRun,
    BenchmarkSpec,
    BenchmarkSummary,
    Fingerprint,
    HistogramData,
    LatencySummary,
)
from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.jobs import new_id
from quickserveml_tui.core.models import ModelRecord, VersionRecord


def add_model(workbench, folder: Path, name: str, files: dict[str, bytes], *, link: bool = False) -> ModelRecord:
    """A model whose files hold these bytes; with `link` they stay in `folder`."""
    source = folder / f"source-{name}"
    with workbench.artifacts.stage() as staging:
        for path, data in files.items():
            place = source / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            (staging.link if link else staging.add)(place, path)
        with workbench.artifacts.publishing():
            manifest = staging.commit()
            now = utc_now()
            version = VersionRecord(1, manifest, make_facts(), READY, created_at=now)
            record = ModelRecord(
                new_id("model"), name, created_at=now, updated_at=now, versions=(version,), next_version=2
            )
            return workbench.registry.put(name, lambda _old: record)


def add_run(workbench, model: ModelRecord) -> BenchmarkRun:
    """A saved benchmark with samples."""
    latency = LatencySummary(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 2.5, 0.5)
    summary = BenchmarkSummary(
        10, 1, latency, {}, 400.0, 1.0, 1_000_000, 99.0, noisy=False, noise_reason="", steady=True,
        histogram=HistogramData((0.0, 1.0), (10,)),
    )  # fmt: skip
    with workbench.artifacts.publishing():
        digest = workbench.artifacts.put_bytes(f"samples {new_id('s')}".encode())
        run = BenchmarkRun(
            new_id("bench"), f"{model.name}@1", model.id, 1, utc_now(), BenchmarkSpec(), summary,
            Fingerprint("d", "cpu", 2, 8, "linux", "3.11", "ort", "CPUExecutionProvider"), samples_digest=digest,
        )  # fmt: skip
        workbench.state.add_benchmark(run)
    return run


def damage(path: Path | str, data: bytes) -> None:
    """Overwrite a file in place, read-only or not."""
    path = Path(path)
    path.chmod(0o600)
    path.write_bytes(data)


def remove(path: Path) -> None:
    """Take a file away."""
    path.unlink()
