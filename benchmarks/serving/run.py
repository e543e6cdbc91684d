"""Servers side by side: CPU per request, requests a second, latency and memory.

    python benchmarks/serving/run.py --environments /tmp/peers [--servers quickserveml mlserver …] [--seconds 5]

Each server runs in an environment of its own on one core, the load generator (wrk, closed loop) on another; what a
server used is the CPU time of its whole process tree. A server that cannot start is listed with its error. `--offered`
measures ours at 70 % of its capacity with 1,000 connections as well, fetching management pages meanwhile. Raw results
go to `benchmarks/results/serving.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import psutil
from load import wrk
from peers import FLOOR, OURS, PEERS, Peer, Started, prepare, triton
from workloads import WORKLOADS, Body, body, model_of, write_models

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "serving.json"
SERVER_CORE, LOAD_CORE = 0, 1
START_S = 120


def free_port() -> int:
    """A port with two free ones after it."""
    while True:
        port = random.randrange(20_000, 60_000)
        with contextlib.ExitStack() as stack:
            try:
                for number in range(port, port + 3):
                    stack.enter_context(contextlib.closing(socket.socket())).bind(("127.0.0.1", number))
            except OSError:
                continue
        return port


def wait_ready(started: Started, port: int, sent: Body) -> None:
    """Until the request of the workload is answered with 200."""
    end, last = time.monotonic() + START_S, "it never listened"
    while time.monotonic() < end:
        if started.process.poll() is not None:
            raise RuntimeError(f"it ended with {started.process.returncode}")
        request = urllib.request.Request(f"http://127.0.0.1:{port}{started.path}", sent.data, sent.headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                answer.read()
                return
        except urllib.error.HTTPError as error:
            last = f"{error.code} {error.read()[:200]!r}"
            if error.code in (400, 401, 403, 415, 422) or time.monotonic() > end - START_S / 2:
                raise RuntimeError(f"it refuses the request: {last}") from error
        except (OSError, ValueError) as error:
            last = str(error)
        time.sleep(0.2)
    raise RuntimeError(f"it was not ready in time: {last}")


def tree(process: subprocess.Popen) -> list[psutil.Process]:
    root = psutil.Process(process.pid)
    return [root, *root.children(recursive=True)]


def cpu_s(processes: list[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def memory_mb(processes: list[psutil.Process]) -> float:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += process.memory_full_info().pss
    return total / 1e6


def stop(process: subprocess.Popen) -> None:
    members = tree(process) if process.poll() is None else []
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(10)


def measure(peer: Peer, python: str, models: Path, workload: str, arguments: argparse.Namespace) -> dict:
    """All connection counts of one workload on one start of the server."""
    if workload.endswith("binary") and not peer.binary:
        return {"error": "it takes no binary tensors"}
    model = models / f"{model_of(workload)}.onnx"
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        started = peer.start(python, model, port, SERVER_CORE, folder)
        sent = body(workload, started.dialect)
        sent = Body(sent.data, sent.headers | started.headers)
        try:
            wait_ready(started, port, sent)
            wrk(port, started.path, sent, 8, 1, LOAD_CORE)
            result = {str(count): one(started, port, sent, count, arguments.seconds) for count in arguments.connections}
            if arguments.offered and peer is OURS and workload == "tiny":
                result["offered"] = offered(started, port, sent, result)
            return result
        except Exception as error:
            log = (folder / "log").read_text(errors="replace")[-600:] if (folder / "log").exists() else ""
            return {"error": str(error)[:400], "log": log}
        finally:
            stop(started.process)


def one(started: Started, port: int, sent: Body, connections: int, seconds: float) -> dict:
    members = tree(started.process)
    before = cpu_s(members)
    found = wrk(port, started.path, sent, connections, seconds, LOAD_CORE)
    members = tree(started.process)
    used = cpu_s(members) - before
    cpu = used / found["requests"] * 1e6 if found["requests"] else None
    return found | {"cpu_us": cpu, "memory_mb": memory_mb(members)}


def offered(started: Started, port: int, sent: Body, result: dict) -> dict:
    """1,000 connections that offer 70 % of what the closed loop reached."""
    rate = 0.7 * max(item["rps"] for item in result.values())
    with tempfile.NamedTemporaryFile() as file:
        file.write(sent.data)
        file.flush()
        spec = {"port": port, "path": started.path, "body": file.name, "headers": sent.headers, "connections": 1000}
        spec |= {"rate": rate, "seconds": 10, "gets": started.gets, "key": started.headers}
        command = ["taskset", "-c", str(LOAD_CORE), sys.executable, str(HERE / "load.py")]
        out = subprocess.run(command, input=json.dumps(spec), capture_output=True, text=True, check=True).stdout
    return json.loads(out)


def bare(models: Path, name: str, batch: int, seconds: float) -> dict:
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, str(HERE / "bare_loop.py")]
    command += [str(models / f"{name}.onnx"), name, str(batch), str(seconds)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def median(rounds: list[dict]) -> dict:
    """The round with the median CPU time, whole."""
    good = [item for item in rounds if "error" not in item]
    if not good:
        return rounds[0]
    result = {}
    for key in good[0]:
        items = [item[key] for item in good if key in item]
        result[key] = {
            field: statistics.median(item[field] for item in items)
            for field in items[0]
            if isinstance(items[0][field], int | float)
        }
        errors = [item["errors"] for item in items if item.get("errors")]
        if errors:
            result[key]["errors"] = errors
    return result


def show(results: dict) -> None:
    for workload, servers in results.items():
        print(f"\n{workload}")
        print(f"{'server':<14}{'conns':>7}{'CPU µs':>10}{'rps':>10}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}{'MB':>8}")
        for name, found in servers.items():
            if "error" in found:
                print(f"{name:<14}{found['error'][:100]}")
                continue
            for count, item in found.items():
                if "cpu_us" not in item:
                    print(f"{name:<14}{count:>7} {json.dumps(item)}")
                    continue
                print(
                    f"{name:<14}{count:>7}{item['cpu_us']:>10.1f}{item['rps']:>10,.0f}{item['p50_ms']:>10.2f}"
                    f"{item['p99_ms']:>10.2f}{item['max_ms']:>10.2f}{item['memory_mb']:>8.0f}"
                    + (f"  errors {item['errors']}" if item.get("errors") else "")
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, required=True)
    parser.add_argument("--servers", nargs="*", default=[])
    parser.add_argument("--workloads", nargs="*", default=list(WORKLOADS), choices=WORKLOADS)
    parser.add_argument("--connections", nargs="*", type=int, default=[1, 32, 256, 1000])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--offered", action="store_true")
    parser.add_argument("--triton", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    peers = [*PEERS, *([triton(arguments.triton)] if arguments.triton else [])]
    peers = [peer for peer in peers if not arguments.servers or peer.name in arguments.servers]
    results: dict[str, dict] = {workload: {} for workload in arguments.workloads}
    with tempfile.TemporaryDirectory() as name:
        models = Path(name)
        write_models(models)
        for workload in arguments.workloads:
            collected: dict[str, list[dict]] = {peer.name: [] for peer in peers}
            for _ in range(arguments.rounds):
                for peer in random.sample(peers, len(peers)):
                    if peer is FLOOR and workload != "tiny":
                        continue
                    try:
                        python = prepare(peer, arguments.environments)
                    except Exception as error:
                        collected[peer.name].append({"error": f"it cannot be installed: {error}"[:400]})
                        continue
                    collected[peer.name].append(measure(peer, python, models, workload, arguments))
                    print(f"{workload} {peer.name} done", file=sys.stderr, flush=True)
            results[workload] = {name: median(rounds) for name, rounds in collected.items() if rounds}
        bounds = {
            f"{name}, batch {batch}": bare(models, name, batch, 2.0)
            for name, batch in (("tiny", 1), ("tiny", 32), ("medium", 1), ("medium", 8), ("medium", 32), ("large", 1))
        }
    show(results)
    print("\nbare onnxruntime:", json.dumps(bounds, indent=1))
    document = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"python": platform.python_version(), "system": platform.release(), "cores": os.cpu_count()},
        "arguments": {key: str(value) for key, value in vars(arguments).items() if key not in ("environments", "out")},
        "results": results,
        "bare": bounds,
    }
    arguments.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
