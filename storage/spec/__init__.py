"""What a user wishes for, frozen: the job file, the lazy product of its axes, the recipe of each image. All pure."""

from storage.spec.canonical import canonical, digest
from storage.spec.file.freezing import freeze
from storage.spec.file.jobfile import JobFile
from storage.spec.file.reading import check_job_file, read_job_file
from storage.spec.job import Job, Place, Spec
from storage.spec.ranges import Numbers
from storage.spec.recipe import ModelFacts, batch_key

__all__ = [
    "Job", "JobFile", "ModelFacts", "Numbers", "Place", "Spec",
    "batch_key", "canonical", "check_job_file", "digest", "freeze", "read_job_file",
]  # fmt: skip
