"""Batches whose data came over the network: data and predictions stay in the home until they are deleted."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from quickserveml_tui.core.errors import ConflictError, NotFoundError
from quickserveml_tui.core.job_records import JobKind, JobRecord, JobRequest
from quickserveml_tui.core.ports.transfers import ArtifactStream
from quickserveml_tui.core.predictions import BatchResult, BatchSpec
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.job_outcome import result_id_of
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.uploads import Upload, Uploads

if TYPE_CHECKING:
    from quickserveml_tui.core.ports import BatchPort, JobsPort

_ALL = 10_000


@dataclass(frozen=True, slots=True)
class FoundBatch:
    """A batch: its job, its result, or both."""

    id: str
    job: JobRecord | None
    result: BatchResult | None

    @property
    def ref(self) -> str:
        """The version that it runs on."""
        if self.result is not None:
            return self.result.ref
        assert self.job is not None
        return self.job.request.ref

    @property
    def created_at(self) -> str:
        """When it was asked for; when it had ended, where the job is forgotten."""
        if self.job is not None:
            return self.job.created_at
        return self.result.created_at if self.result is not None else ""


class UploadedBatches:
    """Batches as a front on the network sees them."""

    def __init__(self, home: Path, jobs: JobsPort, batches: BatchPort) -> None:
        self._jobs = jobs
        self._batches = batches
        self._uploads = Uploads(home / "uploads")

    def begin(self, name: str, limit: int) -> Upload:
        """A place for the data of a batch; `name` ends like its format. Raises `StoreError`, see `Uploads.begin`."""
        self._uploads.sweep(self._needed())
        return self._uploads.begin(name, limit)

    def _needed(self) -> set[str]:
        needed = {item.data for item in self._batches.history(_ALL)}
        return needed | {item.request.data for item in self._jobs.list(limit=_ALL) if item.kind is JobKind.BATCH}

    def start(self, ref: str, upload: Upload, spec: BatchSpec, *, with_output: bool) -> JobRecord:
        """Keep the data and start a job on it. Raises what `JobsPort.start` raises; then nothing is left."""
        try:
            upload.keep()
            chosen = replace(spec, output_path=str(upload.output) if with_output else "")
            request = JobRequest(JobKind.BATCH, ref, data=str(upload.path), batch=chosen, origin="server")
            return self._jobs.start(request)
        except BaseException:
            upload.discard()
            raise

    def find(self, batch_id: str) -> FoundBatch:
        """The batch with this id. Raises `NotFoundError` (`batch.not_found`)."""
        job = next((item for item in self._batch_jobs() if result_id_of(item) == batch_id), None)
        with suppress(NotFoundError):
            return FoundBatch(batch_id, job, self._batches.get(batch_id))
        if job is None:
            raise NotFoundError(
                f"There is no batch “{safe_text(batch_id, 60)}”.",
                hint="GET /api/v1/models/{id}/batches lists them.",
                code="batch.not_found",
            )
        return FoundBatch(batch_id, job, None)

    def list(self) -> tuple[FoundBatch, ...]:
        """All batches, with and without a result."""
        results = {item.id: item for item in self._batches.history(_ALL)}
        jobs = {result_id_of(item): item for item in self._batch_jobs()}
        return tuple(FoundBatch(item, jobs.get(item), results.get(item)) for item in jobs | results)

    def _batch_jobs(self) -> tuple[JobRecord, ...]:
        return tuple(item for item in self._jobs.list(limit=_ALL) if item.kind is JobKind.BATCH)

    def open_output(self, found: FoundBatch) -> ArtifactStream | None:
        """The predictions, where the data was uploaded and they were asked for and are there; they are never changed.

        Whoever gets it closes the descriptor.
        """
        path = found.result.output if found.result is not None else ""
        if not path or not self._uploads.holds(path):
            return None
        try:
            descriptor = fs.open_regular(Path(path))
        except OSError:
            return None
        there = os.fstat(descriptor)
        identity = f"{found.id} {there.st_ino} {there.st_mtime_ns} {there.st_size}"
        digest = hashlib.sha256(identity.encode()).hexdigest()
        return ArtifactStream(descriptor, there.st_size, digest, f"{found.id}.jsonl", False)

    def has_output(self, found: FoundBatch) -> bool:
        """Whether there are predictions to download."""
        stream = self.open_output(found)
        if stream is not None:
            os.close(stream.descriptor)
        return stream is not None

    def delete(self, found: FoundBatch) -> None:
        """Forget a batch with its data, predictions and job. Raises `ConflictError` (`job.running`) while it runs."""
        if found.job is not None:
            if found.job.live:
                raise ConflictError(
                    f"The job {found.job.id} has not ended.",
                    hint=f"Cancel it first: DELETE /api/v1/jobs/{found.job.id}",
                    code="job.running",
                )
            self._jobs.clean([found.job.id])
        if found.result is not None:
            self._batches.delete(found.id)
        data = found.result.data if found.result is not None else found.job.request.data if found.job else ""
        self._uploads.remove(data)
