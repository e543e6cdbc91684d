"""The conditions of a measurement, taken without importing the runtime."""

from __future__ import annotations

import functools
import platform
from importlib import metadata

from quickserveml_tui._version import __version__
from quickserveml_tui.core.benchmarks import BenchmarkSpec, Fingerprint
from quickserveml_tui.runtime import host

_RUNTIMES = (
    "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-qnn",
    "onnxruntime-rocm", "onnxruntime-training",
)  # fmt: skip


@functools.cache
def installed_runtime() -> str:
    """Name and version of the installed runtime from its package data: `onnxruntime 1.32.0`; empty without one."""
    for name in _RUNTIMES:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return ""


def take_fingerprint(
    model_digest: str,
    spec: BenchmarkSpec,
    *,
    pinned_cpus: tuple[int, ...] = (),
    load_before: float | None = None,
    load_after: float | None = None,
) -> Fingerprint:
    """The fingerprint of a run on this machine now. `pinned_cpus` are the runner's, the loads are over one minute."""
    return Fingerprint(
        model_digest=model_digest,
        cpu=host.cpu_model(),
        cores=len(host.available_cpus()),
        memory_bytes=host.total_memory_bytes(),
        os=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        runtime=installed_runtime(),
        provider=spec.provider,
        governor=host.governor(),
        pinned_cpus=pinned_cpus,
        load_before=load_before,
        load_after=load_after,
        version=__version__,
    )
