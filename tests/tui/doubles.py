"""A workbench in memory that keeps the promises of the ports: states of the interface without processes or files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from doubles_care import Backups, Bundles, Keeping, Maintenance
from doubles_jobs import Jobs
from doubles_models import Convert, Feeding, Golden, Looking, Predict
from doubles_serving import Monitor, Remote, Servers

from quickserveml_tui.core.benchmarks import (
    BenchmarkFrame,
    BenchmarkRun,
    BenchmarkSpec,
    BenchmarkSummary,
    Fingerprint,
    HistogramData,
    Interval,
    LatencySummary,
    Phase,
)
from quickserveml_tui.core.catalog import AddResult, CatalogPage, CatalogQuery, ModelView, Resolved, ScanHit
from quickserveml_tui.core.errors import ConflictError, ModelError, NotFoundError
from quickserveml_tui.core.facts import LayerPage, LayerRow, ModelFacts
from quickserveml_tui.core.hosts import HostStatus
from quickserveml_tui.core.jobs import Progress, ignore_progress
from quickserveml_tui.core.models import (
    ArtifactManifest,
    FileEntry,
    ModelRecord,
    TrashEntry,
    TrialOutcome,
    TrialReport,
    VersionRecord,
    VersionState,
)
from quickserveml_tui.core.predictions import BatchResult
from quickserveml_tui.core.refs import name_from_path
from quickserveml_tui.core.tensors import TensorSpec

STAMP = "2024-05-01T10:00:00.000Z"


def make_facts(nodes: int = 5, **changes) -> ModelFacts:
    facts = ModelFacts(
        ir_version=8,
        opsets={"ai.onnx": 17},
        producer="pytorch 2.3",
        graph_name="main",
        inputs=(TensorSpec("image", "float32", ("batch", 1, 8, 8)),),
        outputs=(TensorSpec("scores", "float32", ("batch", 10)),),
        nodes=nodes,
        params=25_610,
        macs=1_234_567,
        size_bytes=102_500,
        weight_dtypes={"float32": 25_610},
        op_types={"Conv": 2, "Relu": 2, "Gemm": 1},
        metadata={"author": "somebody"},
    )
    return replace(facts, **changes)


def make_layers(count: int = 5) -> tuple[LayerRow, ...]:
    ops = ("Conv", "Relu", "Gemm")
    return tuple(
        LayerRow(
            index=index, name=f"layer{index}", op=ops[index % 3], domain="", depth=0, inputs=(f"t{index}",),
            outputs=(f"t{index + 1}",), output_shape=("batch", 16, 8, 8), output_dtype="float32",
            params=160 * (index % 3), macs=9_216 * (index % 5), output_bytes=4_096, attributes={"kernel_shape": "3 3"},
        )
        for index in range(count)
    )  # fmt: skip


def make_version(number: int = 1, *, ready: bool = True, **changes) -> VersionRecord:
    entry = FileEntry("model.onnx", f"{number:064x}", 102_500)
    outcome = TrialOutcome.READY if ready else TrialOutcome.UNRUNNABLE
    record = VersionRecord(
        version=number,
        artifact=ArtifactManifest(entry.digest, (entry,)),
        facts=make_facts(),
        trial=TrialReport(outcome, "" if ready else "Opset 99 is newer than the runtime takes.", load_ms=3.0),
        created_at=STAMP,
    )
    return replace(record, **changes)


def make_model(name: str, versions: int = 1, **changes) -> ModelRecord:
    record = ModelRecord(
        id=f"id-{name}",
        name=name,
        created_at=STAMP,
        updated_at=STAMP,
        task="image classification",
        versions=tuple(make_version(number) for number in range(1, versions + 1)),
        next_version=versions + 1,
    )
    return replace(record, **changes)


def make_summary(p50: float = 2.0, n: int = 500, *, cancelled: bool = False) -> BenchmarkSummary:
    return BenchmarkSummary(
        n=n,
        warmup=10,
        latency_ms=LatencySummary(p50 * 0.9, p50, p50 * 1.1, p50 * 1.2, p50 * 1.4, p50 * 2, p50 * 1.02, 0.1),
        intervals={
            "p50": Interval(p50 * 0.99, p50 * 1.01),
            "p90": Interval(p50 * 1.08, p50 * 1.12),
            "p95": Interval(p50 * 1.15, p50 * 1.25),
            "p99": Interval(p50 * 1.3, p50 * 1.5) if n >= 368 else None,
        },
        throughput_per_s=1000 / p50,
        elapsed_s=1.0,
        peak_rss_bytes=120_000_000,
        cpu_percent=99.0,
        noisy=False,
        noise_reason="",
        steady=True,
        histogram=HistogramData((1.8, 1.9, 2.0, 2.1, 2.2), (20, 300, 150, 30)),
        cancelled=cancelled,
    )


def make_run(model: ModelRecord, version: int = 1, p50: float = 2.0, **changes) -> BenchmarkRun:
    ref = f"{model.name}@{version}"
    run = BenchmarkRun(
        id=f"bench-{model.name}-{version}",
        ref=ref,
        model=model.id,
        version=version,
        created_at=STAMP,
        spec=BenchmarkSpec(),
        summary=make_summary(p50),
        fingerprint=Fingerprint("0" * 64, "cpu", 2, 8_000_000_000, "linux", "3.11", "onnxruntime 1.32", "CPU"),
        command=BenchmarkSpec().command(ref),
    )
    return replace(run, **changes)


class Catalog(Keeping, Feeding):
    def __init__(self, world: World) -> None:
        self.world = world

    def generation(self) -> str:
        return str(self.world.changes)

    def list_models(self, query: CatalogQuery | None = None) -> CatalogPage:
        query = query or CatalogQuery()
        self.check_filter(query.text)
        words = query.text.lower().split()
        views = []
        for model in self.world.models.values():
            text = " ".join([model.name, model.task, *model.tags, *model.aliases]).lower()
            if all((word[4:] in model.tags) if word.startswith("tag:") else word in text for word in words):
                views.append(self._view(model))
        key, down = query.sort.lstrip("-"), query.sort.startswith("-")
        views.sort(key=lambda view: self._rank(view, key), reverse=down)
        return CatalogPage(tuple(views), total=len(views))

    def _view(self, model: ModelRecord) -> ModelView:
        return ModelView(model, {run.version: run for run in self.world.runs if run.model == model.id})

    def _rank(self, view: ModelView, key: str):
        latest = view.model.latest
        return {
            "name": view.model.name,
            "updated": view.model.updated_at,
            "versions": len(view.model.versions),
            "size": latest.facts.size_bytes if latest else 0,
            "params": latest.facts.params if latest else 0,
            "p50": view.p50_ms() or float("inf"),
        }[key]

    def show(self, ref: str) -> ModelView:
        model = self.world.models.get(ref.split("@")[0].split("#")[0])
        if model is None:
            raise NotFoundError(f"No model is called “{ref}”.", hint="Add it first.")
        return self._view(model)

    def resolve(self, ref: str, *, runnable: bool = False) -> Resolved:
        head, _, node = ref.partition("#")
        if "/" in head:
            if not Path(head).is_file():
                raise NotFoundError(f"There is no file {head}.", hint="Check the path.")
            return Resolved(head, head, "0" * 64, node=node or None)
        view = self.show(head)
        selector = head.partition("@")[2]
        number = view.model.aliases.get(selector) or int(selector or view.model.latest.version)
        return Resolved(
            f"{view.model.name}@{number}", "", "0" * 64, view.model, view.model.version(number), node or None
        )

    def add(self, request, *, on_progress=ignore_progress, cancel=None) -> AddResult:
        on_progress(Progress("copying", 1, 2, "files"))
        path = Path(request.path)
        if path.suffix != ".onnx":
            raise ModelError(f"{path.name} is not an ONNX model.", hint="Choose a file that ends in .onnx.")
        name = request.name or name_from_path(path)
        model = self.world.models.get(name) or replace(make_model(name), versions=(), next_version=1)
        version = make_version(model.next_version)
        model = replace(model, versions=(*model.versions, version), next_version=version.version + 1)
        self.world.put(model)
        return AddResult(model, version)

    def scan(self, folder: str, *, cancel=None) -> Iterator[ScanHit]:
        for path in sorted(Path(folder).rglob("*.onnx")):
            yield ScanHit(str(path), path.stat().st_size)

    def update(self, ref: str, patch) -> ModelRecord:
        name, _, number = ref.partition("@")
        self.world.patches.append(patch)
        model = self.world.models[name]
        versions = tuple(
            replace(item, state=patch.state or item.state, notes=item.notes if patch.notes is None else patch.notes)
            if str(item.version) == number
            else item
            for item in model.versions
        )
        return self.world.put(replace(model, versions=versions))

    def tag(self, name: str, add=(), remove=()) -> ModelRecord:
        model = self.world.models[name]
        tags = tuple(sorted((set(model.tags) | set(add)) - set(remove)))
        return self.world.put(replace(model, tags=tags))

    def set_alias(self, ref: str, alias: str) -> ModelRecord:
        name, _, number = ref.partition("@")
        model = self.world.models[name]
        return self.world.put(replace(model, aliases={**model.aliases, alias: int(number)}))

    def remove_alias(self, name: str, alias: str, *, force: bool = False) -> ModelRecord:
        model = self.world.models[name]
        if not force and alias in ("prod", "staging", *model.protected):
            raise ConflictError(f"{alias} is protected.", hint="Force it.", code="alias.protected")
        aliases = {key: value for key, value in model.aliases.items() if key != alias}
        return self.world.put(replace(model, aliases=aliases))


class Inspect(Looking):
    def __init__(self, world: World) -> None:
        self.world = world

    def facts(self, ref: str) -> ModelFacts:
        if ref in self.world.slow:
            self.world.wait_for(self.world.finish_facts, "counting")
        if ref in self.world.broken:
            raise self.world.broken[ref]
        if ref in self.world.slow:
            return self.world.slow[ref]
        if "/" in ref:
            return make_facts(2)
        name, _, number = ref.partition("@")
        model = self.world.models[name]
        return (model.version(int(number)) if number else model.latest).facts

    def schema(self, ref: str) -> dict:
        return {"request": {}, "response": {}, "example": {"inputs": {"image": [[0.0]]}}}

    def layers(self, ref: str, offset: int = 0, limit: int = 10_000, *, shapes: bool = True) -> LayerPage:
        if shapes and self.world.slow_shapes:
            self.world.wait_until(self.world.finish_shapes, "shapes")
            if "shapes" in self.world.broken:
                raise self.world.broken["shapes"]
        rows = self.world.layers[offset : offset + limit]
        if not shapes:
            rows = [replace(row, output_shape=None, output_dtype="", macs=None, output_bytes=None) for row in rows]
        return LayerPage(tuple(rows), len(self.world.layers), offset, shapes)


class Benchmark:
    """Pushes the frames of `world.frames`, then waits for `world.finish` or cancel before it returns."""

    def __init__(self, world: World) -> None:
        self.world = world

    def run(self, ref, spec, *, on_frame=None, cancel=None, save=True) -> BenchmarkRun:
        self.world.benchmarked.append((ref, spec))
        for frame in self.world.frames:
            if on_frame:
                on_frame(frame)
        if cancel:
            cancel.on_cancel(self.world.finish.set)
        self.world.wait_for(self.world.finish, "benchmark")
        name, _, number = ref.partition("@")
        model = self.world.models[name]
        cancelled = bool(cancel and cancel.cancelled)
        summary = make_summary(self.world.p50, 120 if cancelled else 500, cancelled=cancelled)
        run = make_run(
            model,
            int(number),
            summary=summary,
            id=f"bench-{len(self.world.runs)}",
            spec=spec,
            command=spec.command(ref),
        )
        if save:
            self.world.runs.append(run)
            self.world.changes += 1
        return run

    def get(self, run_id: str) -> BenchmarkRun:
        return next(run for run in self.world.runs if run.id == run_id)

    def history(self, ref=None, limit: int = 100) -> tuple[BenchmarkRun, ...]:
        name = (ref or "").partition("@")[0]
        found = [
            run for run in reversed(self.world.runs) if ref is None or run.ref == ref or run.ref.startswith(f"{name}@")
        ]
        return tuple(found[:limit])


class Batch:
    def __init__(self, world: World) -> None:
        self.world = world

    def run(self, ref, data, spec=None, *, on_progress=ignore_progress, cancel=None) -> BatchResult:
        on_progress(Progress("predicting", 180, 360, "rows", 900.0, 0.2, 0.2))
        if cancel:
            cancel.on_cancel(self.world.finish_batch.set)
        self.world.wait_for(self.world.finish_batch, "batch")
        cancelled = bool(cancel and cancel.cancelled)
        rows = 180 if cancelled else 360
        result = BatchResult(
            id=f"batch-{len(self.world.batches)}", ref=ref, data=str(data), rows=rows, failed=3, elapsed_s=0.4, throughput_per_s=900.0,
            accuracy=0.975, correct=348, confusion=((175, 5), (4, 176)), classes=("0", "1"), cancelled=cancelled,
            created_at=STAMP, command=f"quickserveml batch {ref} {data}",
        )  # fmt: skip
        self.world.batches.append(result)
        return result

    def get(self, result_id: str) -> BatchResult:
        return next(result for result in self.world.batches if result.id == result_id)

    def history(self, limit: int = 100) -> tuple[BatchResult, ...]:
        return ()


class Demo:
    def __init__(self, world: World) -> None:
        self.world = world

    def install(self, *, on_progress=ignore_progress, cancel=None) -> int:
        on_progress(Progress("adding", 1, 2, "models"))
        self.world.put(make_model("digits", 3, tags=("demo",), aliases={"prod": 2}))
        return 3

    def data_path(self, model: str) -> Path | None:
        return self.world.data.get(model.partition("@")[0])


class Host:
    def status(self) -> HostStatus:
        return HostStatus("local", 4, 0.2, 16_000_000_000, 8_000_000_000)


def make_frames(n: int = 60, latency_ms: float = 2.0) -> list[BenchmarkFrame]:
    step = latency_ms / 1000
    warm = BenchmarkFrame(Phase.WARMUP, 0.1, (0.0, 0.05), (latency_ms * 3, latency_ms * 2), 2, 0, 90.0, 80_000_000)
    starts = tuple(0.1 + step * index for index in range(n))
    values = tuple(latency_ms * (1 + (index % 7) / 50) for index in range(n))
    return [warm, BenchmarkFrame(Phase.MEASURING, 0.1 + n * step, starts, values, n, 0, 99.0, 81_000_000)]


class World:
    """State behind the double; itself a `Workbench`."""

    def __init__(self, *models: ModelRecord, home: Path = Path("/home/user/.local/share/quickserveml")) -> None:
        self.models = {model.name: model for model in models}
        self.runs: list[BenchmarkRun] = []
        self.layers = make_layers()
        self.broken: dict[str, Exception] = {}
        self.frames = make_frames()
        self.p50 = 2.0
        self.finish, self.finish_batch = threading.Event(), threading.Event()
        self.data: dict[str, Path] = {}
        self.benchmarked: list[tuple[str, BenchmarkSpec]] = []
        self.batches: list[BatchResult] = []
        self.trash: list[TrashEntry] = []
        self.bulked: list[tuple] = []
        self.patches: list = []
        self.changes = 0
        self.closed = self.over = False
        self.home = home
        self.home_to_name = ""
        self.catalog, self.inspect = Catalog(self), Inspect(self)
        self.benchmark, self.batch = Benchmark(self), Batch(self)
        self.jobs, self.demo, self.host, self.predict = Jobs(self), Demo(self), Host(), Predict(self)
        self.golden, self.convert, self.make_version = Golden(self), Convert(self), make_version
        self.mismatches: dict[str, tuple] = {}
        self.trials: dict[str, TrialReport] = {}
        self.slow: dict[str, ModelFacts] = {}
        """Facts by reference whose totals wait for `finish_facts`; the header is there at once."""
        self.finish_facts = threading.Event()
        self.finish_totals = threading.Event()
        self.finish_totals.set()
        self.slow_shapes = False
        """Whether layers with shapes wait for `finish_shapes`; `broken["shapes"]` says why there are none."""
        self.finish_shapes = threading.Event()
        self.trying, self.finish_trial = threading.Event(), threading.Event()
        self.finish_trial.set()
        self.retried: list[str] = []
        self.outputs: dict = {}
        self.maintenance, self.bundles, self.backups = Maintenance(), Bundles(self), Backups()
        self.servers, self.monitor, self.remote = Servers(), Monitor(), Remote()

    def put(self, model: ModelRecord) -> ModelRecord:
        self.models[model.name] = model
        self.changes += 1
        return model

    def add_named(self, name: str) -> AddResult:
        model = self.put(make_model(name))
        return AddResult(model, model.versions[0])

    def wait_for(self, event: threading.Event, what: str) -> None:
        """Wait until the test ends the work, or the test itself is over."""
        self.wait_until(event, what)
        event.clear()

    def wait_until(self, event: threading.Event, what: str) -> None:
        """As `wait_for`, for work that does not wait again."""
        assert event.wait(30) or self.over, f"the test forgot to end the {what}"

    def end(self) -> None:
        """Let everything that still runs end."""
        self.over = True
        for event in (self.finish, self.finish_batch, self.finish_facts, self.finish_totals, self.finish_shapes,
                      self.finish_trial):  # fmt: skip
            event.set()

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def sample_world(home: Path | None = None) -> World:
    """Three models: several versions with aliases and runs, a hostile name, one that cannot run."""
    digits = make_model("digits", 3, aliases={"prod": 2, "staging": 3}, tags=("demo", "vision"))
    odd = make_model("x[/]y", task="[@click=app.quit]odd[/]")
    broken = make_model("too-new", versions=1, task="")
    broken = replace(broken, versions=(make_version(1, ready=False, state=VersionState.DEPRECATED),))
    world = World(digits, odd, broken, **({"home": home} if home else {}))
    world.runs = [make_run(digits, 1, 2.4), make_run(digits, 2, 2.1), make_run(digits, 3, 0.0415)]
    return world
