"""Every platform call, behind capability flags: elsewhere the answer is weaker, never an error."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import signal as signals
import sys
from dataclasses import dataclass
from pathlib import Path

from quickserveml_tui.core.hosts import HostStatus
from quickserveml_tui.core.text import safe_text

IS_LINUX = sys.platform == "linux"
CAN_PIN = hasattr(os, "sched_setaffinity")
"""Whether a process can be bound to cores."""
CAN_LIMIT_MEMORY = IS_LINUX
"""Whether the memory of a process can be capped (elsewhere the limits exist, but the kernel ignores them)."""
HAS_PROC = IS_LINUX and Path("/proc/self/statm").exists()
"""Whether memory and CPU time come from /proc: 3 µs a sample against 570 µs through psutil."""
HAS_BOOT_ID = HAS_PROC and Path("/proc/sys/kernel/random/boot_id").exists()
"""Whether the system names its boots."""
HAS_PIDFD = hasattr(os, "pidfd_open") and hasattr(signals, "pidfd_send_signal")
"""Whether a process can be held on to, so that a signal cannot hit a later one with its number."""

_PR_SET_PDEATHSIG = 1
_SIGNAL_MEANINGS = {
    "SIGFPE": "arithmetic error",
    "SIGSEGV": "invalid memory access",
    "SIGBUS": "bad memory access or a file that was cut while in use",
    "SIGABRT": "the runtime gave up",
    "SIGILL": "an instruction this CPU lacks",
    "SIGKILL": "killed from outside, perhaps for lack of memory",
    "SIGTERM": "ended from outside",
    "SIGXCPU": "CPU time limit",
}


# ---- cores --------------------------------------------------------------------------------------------------------


def available_cpus() -> tuple[int, ...]:
    """Numbers of the logical CPUs that this process may use, ascending."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def _pin_thread(thread_id: int, cpus: tuple[int, ...]) -> bool:
    try:
        os.sched_setaffinity(thread_id, cpus)
    except OSError:  # the thread has ended, or a container forbids it
        return False
    return True


def _thread_ids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc/self/task")]  # noqa: PTH208 - names only, no Path per thread
    except OSError:
        return [0]


def pin_main_thread(cpus: tuple[int, ...]) -> bool:
    """Bind the main thread, and the threads it starts from now on, to `cpus`; move the others off them.

    False where cores cannot be bound.
    """
    if not CAN_PIN or not cpus:
        return False
    others = tuple(cpu for cpu in available_cpus() if cpu not in cpus)
    main = os.getpid()
    if others:
        for thread_id in _thread_ids():
            if thread_id not in (main, 0):
                _pin_thread(thread_id, others)
    return _pin_thread(main, cpus)


def confine_threads(cpus: tuple[int, ...]) -> bool:
    """Bind all threads of this process, and those they start from now on, to `cpus`; False where that cannot be."""
    if not CAN_PIN or not cpus:
        return False
    pinned = [_pin_thread(thread_id, cpus) for thread_id in _thread_ids()]
    return any(pinned)  # a thread may have ended meanwhile


@functools.cache
def cpu_model() -> str:
    """Name of the processor, such as `AMD EPYC 7763`."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return safe_text(line.partition(":")[2].strip(), 120)
    return safe_text(platform.processor() or platform.machine(), 120)


def governor() -> str:
    """Frequency governor of the first core (`performance`, `powersave`); empty where there is none."""
    with contextlib.suppress(OSError):
        text = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text(encoding="ascii")
        return safe_text(text.strip(), 40)
    return ""


# ---- limits and life ----------------------------------------------------------------------------------------------


def data_bytes() -> int:
    """Private writable memory of this process in bytes (what `limit_data` counts); 0 where unknown."""
    if HAS_PROC:
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * _page_size()
    return 0


def limit_data(size_bytes: int | None) -> bool:
    """Cap the private writable memory of this process; None lifts the cap. False where that is not possible.

    RLIMIT_DATA and not RLIMIT_AS: mapped model files and reserved thread arenas must not count.
    """
    if not CAN_LIMIT_MEMORY:
        return False
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = resource.RLIM_INFINITY if size_bytes is None else size_bytes
    if hard != resource.RLIM_INFINITY:
        soft = hard if soft == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    return True


def disable_core_dumps() -> None:
    """Let a crash leave no core file behind: it would hold the user's data."""
    if os.name == "posix":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def die_with_parent(parent_pid: int) -> bool:
    """End this process by SIGKILL when the thread that started it ends; False where the kernel does not offer it.

    The parent must start it from a thread that lives as long as itself. Exits at once if the parent is gone already.
    """
    if not IS_LINUX:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.prctl(_PR_SET_PDEATHSIG, int(signals.SIGKILL), 0, 0, 0) == 0
    if os.getppid() != parent_pid:
        os._exit(0)
    return bool(done)


def signal_name(number: int) -> str:
    """`SIGFPE` for 8; `signal 77` for one without a name."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


def describe_signal(name: str) -> str:
    """What a signal means to a user: `SIGFPE, arithmetic error`."""
    meaning = _SIGNAL_MEANINGS.get(name)
    return f"{name}, {meaning}" if meaning else name


# ---- processes ----------------------------------------------------------------------------------------------------


@functools.cache
def boot_name() -> str:
    """Where process numbers mean the same: this boot of this machine and, on Linux, this name space of processes.

    A container sees the boot of its host, but not the host's processes. Elsewhere it is the machine's name, and the
    start time of a process, which is absolute there, tells boots apart.
    """
    if HAS_BOOT_ID:
        with contextlib.suppress(OSError):
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            return safe_text(f"{boot}/{os.readlink('/proc/self/ns/pid')}", 120)  # noqa: PTH115 - not a path
    return safe_text(platform.node() or "localhost", 80)


def process_born(pid: int) -> int | None:
    """Start time of a process that runs, as the system counts it; None when there is none or it has ended.

    One that has ended and was not waited for yet counts as ended.
    """
    if pid <= 0:
        return None
    if not HAS_PROC:
        return _psutil_born(pid)
    try:
        # The command name, in parentheses, may hold blanks: fields are counted after it.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X", b"x") else int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def _psutil_born(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD) else int(process.create_time())
    except psutil.Error:
        return None


def signal_process(pid: int, born: int, number: int) -> bool:
    """Send a signal to a process if it is still the one that was born then; False when it is gone or not ours."""
    try:
        if not HAS_PIDFD:
            if process_born(pid) != born:
                return False
            os.kill(pid, number)
            return True
        descriptor = os.pidfd_open(pid)  # holds on to the process: what follows cannot hit a later one
        try:
            if process_born(pid) != born:
                return False
            signals.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)
    except OSError:
        return False
    return True


# ---- memory and CPU time ------------------------------------------------------------------------------------------


@functools.cache
def _page_size() -> int:
    return os.sysconf("SC_PAGE_SIZE")


@functools.cache
def _ticks_per_second() -> int:
    return os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class MemorySample:
    """Resident memory of a process in bytes; `anon_bytes` leaves mapped files and shared memory out."""

    rss_bytes: int
    anon_bytes: int


class ProcessSampler:
    """Reads memory and CPU time of a process cheaply, again and again (pread of files kept open).

    Every method returns None once the process is gone. Use it from one thread and close it.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._statm = self._open("statm")
        self._stat = self._open("stat")

    def _open(self, name: str) -> int | None:
        if not HAS_PROC:
            return None
        try:
            return os.open(f"/proc/{self.pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None

    def memory(self) -> MemorySample | None:
        """Resident memory now."""
        if self._statm is None:
            return self._psutil_memory()
        try:
            fields = os.pread(self._statm, 256, 0).split()
            resident, shared = int(fields[1]), int(fields[2])
        except (OSError, IndexError, ValueError):
            return None
        # A process that has ended but was not waited for has no pages left.
        return MemorySample(resident * _page_size(), (resident - shared) * _page_size()) if resident else None

    def cpu_s(self) -> float | None:
        """User and system time so far in seconds, in steps of a clock tick (10 ms)."""
        if self._stat is None:
            return self._psutil_cpu_s()
        try:
            # The command name, in parentheses, may hold blanks: fields are counted after it.
            fields = os.pread(self._stat, 1024, 0).rpartition(b")")[2].split()
            return (int(fields[11]) + int(fields[12])) / _ticks_per_second()
        except (OSError, IndexError, ValueError):
            return None

    def _psutil_memory(self) -> MemorySample | None:
        if HAS_PROC:
            return None
        import psutil

        try:
            info = psutil.Process(self.pid).memory_info()
        except psutil.Error:
            return None
        return MemorySample(info.rss, info.rss)

    def _psutil_cpu_s(self) -> float | None:
        if HAS_PROC:
            return None
        import psutil

        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.Error:
            return None
        return float(times.user + times.system)

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in (self._statm, self._stat):
            if descriptor is not None:
                os.close(descriptor)
        self._statm = self._stat = None

    def __enter__(self) -> ProcessSampler:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def total_memory_bytes() -> int:
    """Physical memory of the machine in bytes, or less where a control group allows less."""
    import psutil

    total = int(psutil.virtual_memory().total)
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            return min(total, int(Path(name).read_text(encoding="ascii").strip()))
    return total


def oom_kills() -> int:
    """How many processes the system has ended for lack of memory since it started; 0 where it does not tell."""
    total = 0
    for name in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(name).read_text(encoding="ascii", errors="replace").splitlines():
                key, _, count = line.partition(" ")
                if key == "oom_kill":
                    total += int(count)
    return total


def host_status() -> HostStatus:
    """Load of the machine now."""
    import psutil

    memory = psutil.virtual_memory()
    return HostStatus(
        name=safe_text(platform.node() or "localhost", 80),
        cores=len(available_cpus()),
        load=float(psutil.getloadavg()[0]),
        memory_total_bytes=int(memory.total),
        memory_available_bytes=int(memory.available),
    )


# ---- file systems -------------------------------------------------------------------------------------------------

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "glusterfs"}
)


def file_system_of(path: Path) -> str:
    """Type of the file system that holds `path`, such as `ext4`; empty where the system does not tell."""
    if not HAS_PROC:
        return ""
    try:
        device = path.stat().st_dev
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in reversed(lines):  # the mount that was made last covers those before
        fields = line.split()
        if len(fields) > 6 and fields[2] == wanted and "-" in fields[6:]:
            return fields[fields.index("-", 6) + 1]
    return ""
