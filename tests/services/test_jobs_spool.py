"""The spool of a job: whole records in their order, whatever was torn, cut or begun anew."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from quickserveml_tui.core.benchmarks import BenchmarkFrame, BenchmarkSpec, Phase
from quickserveml_tui.core.jobs import Progress
from quickserveml_tui.services.job_folders import LOG_BYTES, JobLog, read_log, stray_job_folders
from quickserveml_tui.services.job_frames import MAX_LATENCIES, merge_frames
from quickserveml_tui.services.job_spool import SpoolWriter, read_spool
from quickserveml_tui.services.job_telemetry import JobTelemetry
from quickserveml_tui.storage import fs


def frame(at=1.0, latencies=(1.0, 2.0), phase=Phase.MEASURING, count=2, **more):
    return BenchmarkFrame(phase, at, tuple(at + index for index in range(len(latencies))), latencies, count, **more)


@pytest.fixture
def spool(tmp_path):
    writer = SpoolWriter(tmp_path)
    yield writer
    writer.close()


def test_what_was_written_is_read_once_and_in_its_order(spool, tmp_path):
    spool.progress(Progress("loading"))
    first = read_spool(tmp_path)
    spool.frame(frame())
    spool.progress(Progress("running", 3, 4, "rows"))
    spool.end()
    second = read_spool(tmp_path, first.offset)
    assert (first.progress, first.ended) == ((Progress("loading"),), False)
    assert (second.progress, second.frames, second.ended) == (
        (Progress("running", 3, 4, "rows"),),
        (frame(),),
        True,
    )
    assert read_spool(tmp_path, second.offset).offset == second.offset
    assert stat.S_IMODE((tmp_path / "events").stat().st_mode) == 0o600


def test_a_spool_cut_at_any_byte_reads_as_its_whole_records(spool, tmp_path):
    ends = [read_spool(tmp_path).offset]
    for index in range(4):
        spool.progress(Progress("running", index))
        ends.append(read_spool(tmp_path).offset)
    path = tmp_path / "events"
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        part = read_spool(tmp_path)
        assert [item.done for item in part.progress] == list(range(sum(end + 16 <= size for end in ends[1:])))


def test_a_damaged_record_and_what_follows_it_are_not_believed(spool, tmp_path):
    for index in range(3):
        spool.progress(Progress("running", index))
    path = tmp_path / "events"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(whole)
    assert [item.done for item in read_spool(tmp_path).progress] == [0]


@pytest.mark.parametrize("content", [b"", b"QSMLEV1\n", b"\xff" * 4000, b"\0" * 4000, b"<html>" * 100], ids=repr)
def test_what_is_no_spool_reads_as_empty(tmp_path, content):
    (tmp_path / "events").write_bytes(content)
    part = read_spool(tmp_path)
    assert (part.progress, part.frames, part.ended) == ((), (), False)


def test_a_link_or_fifo_in_place_of_the_spool_reads_as_empty(tmp_path):
    os.mkfifo(tmp_path / "events")
    assert read_spool(tmp_path).progress == ()
    (tmp_path / "events").unlink()
    (tmp_path / "events").symlink_to("/etc/passwd")
    assert read_spool(tmp_path).progress == ()


def test_a_full_file_is_put_aside_and_a_reader_who_keeps_up_misses_nothing(tmp_path):
    writer = SpoolWriter(tmp_path, file_bytes=1_000)
    seen, offset = [], 0
    for index in range(200):
        writer.progress(Progress("running", index))
        part = read_spool(tmp_path, offset)
        offset = part.offset
        seen += [item.done for item in part.progress]
    while (part := read_spool(tmp_path, offset)).offset != offset:  # the rest of a file that was put aside
        offset = part.offset
        seen += [item.done for item in part.progress]
    assert seen == list(range(200))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2_000
    late = read_spool(tmp_path).progress
    assert late[0].done > 100  # the oldest part is gone


def test_a_job_that_is_run_again_says_nothing_of_its_earlier_attempt(spool, tmp_path):
    spool.progress(Progress("running", 1))
    spool.end()
    before = read_spool(tmp_path)
    (tmp_path / "events").open("ab").write(b"torn")
    again = SpoolWriter(tmp_path)
    again.progress(Progress("running", 2))
    for offset in (0, before.offset):
        part = read_spool(tmp_path, offset)
        assert ([item.done for item in part.progress], part.ended) == ([2], False)
    assert part.offset > before.offset


def test_a_full_disk_silences_the_spool_and_stops_nothing(spool, tmp_path, monkeypatch):
    spool.progress(Progress("running", 1))
    written = fs.write_all

    def full(descriptor, data):
        written(descriptor, data[:5])
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(fs, "write_all", full)
    spool.progress(Progress("running", 2))
    monkeypatch.setattr(fs, "write_all", written)
    spool.progress(Progress("running", 3))  # after a torn record nothing could be read
    spool.end()
    assert [item.done for item in read_spool(tmp_path).progress] == [1]


def test_merged_frames_keep_the_largest_latencies_and_count_what_they_left_out():
    frames = [frame(index, tuple(float(index) for _ in range(1_000)), count=1_000 * index) for index in range(1, 11)]
    frames[4] = frame(5.0, (*([5.0] * 999), 99.0), count=5_000, cpu_percent=70.0)
    (one,) = merge_frames(frames)
    assert (one.count, one.elapsed_s, one.cpu_percent) == (10_000, 10, 70.0)
    assert len(one.latencies_ms) == len(one.starts_s) == MAX_LATENCIES
    assert one.dropped == 10_000 - MAX_LATENCIES
    assert 99.0 in one.latencies_ms
    assert set(one.latencies_ms) >= {float(index) for index in range(1, 11)}


def test_frames_of_two_phases_are_not_merged():
    frames = [frame(phase=Phase.WARMUP), frame(phase=Phase.WARMUP), frame()]
    assert [item.phase for item in merge_frames(frames)] == [Phase.WARMUP, Phase.MEASURING]


def test_telemetry_spools_each_phase_at_once_and_loses_no_latency(spool, tmp_path):
    with JobTelemetry(spool, lambda _progress: None, BenchmarkSpec(duration_s=10, warmup_s=0)) as telemetry:
        telemetry.on_frame(frame(0.0, (), Phase.LOADING, 0))
        telemetry.on_frame(frame(0.1, (1.0,), Phase.WARMUP, 1))
        for index in range(50):
            telemetry.on_frame(frame(0.1 * index, (float(index),), count=index))
    part = read_spool(tmp_path)
    assert list(dict.fromkeys(item.phase for item in part.progress)) == ["loading", "warm-up", "measuring"]
    measured = [latency for item in part.frames for latency in item.latencies_ms if item.phase is Phase.MEASURING]
    assert measured == [float(index) for index in range(50)]
    assert len(part.frames) < 50
    assert telemetry.newest.fraction == pytest.approx(0.49)


def test_a_log_is_cut_when_it_is_full_and_a_reader_begins_anew(tmp_path):
    log = JobLog(tmp_path)
    for _ in range(LOG_BYTES // 4_000 + 10):
        log.write("y" * 4_000)
    log.close()
    assert (tmp_path / "log").stat().st_size < LOG_BYTES / 2
    text, _ = read_log(tmp_path, LOG_BYTES)
    assert "begins anew" in text.splitlines()[0]


def test_a_log_is_read_in_parts_that_never_split_a_character(tmp_path):
    line = "ä€😀" * 900 + "\n"
    (tmp_path / "log").write_text(line * 60, encoding="utf-8")
    text, offset = "", 0
    while (part := read_log(tmp_path, offset))[0]:
        text, offset = text + part[0], part[1]
    assert text == line * 60


def test_a_log_that_ends_within_a_character_waits_for_the_rest(tmp_path):
    raw = "fin €".encode()
    (tmp_path / "log").write_bytes(raw[:-1])
    assert read_log(tmp_path, 0) == ("fin ", 4)
    (tmp_path / "log").write_bytes(raw)
    assert read_log(tmp_path, 4) == ("€", len(raw))


class _NoJobs:
    def job(self, _job_id):
        return None


def test_only_old_folders_that_a_job_could_have_are_stray(tmp_path):
    for name in ("job-0123456789ab", "job-ffffffffffff", "notes", "job-x"):
        (tmp_path / "jobs" / name).mkdir(parents=True)
        os.utime(tmp_path / "jobs" / name, (0, 0))
    os.utime(tmp_path / "jobs" / "job-ffffffffffff")
    (tmp_path / "jobs" / "job-aaaaaaaaaaaa").symlink_to(tmp_path)
    assert [path.name for path in stray_job_folders(tmp_path, _NoJobs())] == ["job-0123456789ab"]
