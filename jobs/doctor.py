"""Examine a running cluster: versions, GPUs, storage, network, disk, services, tokens, secrets.

Examples:
    python -m jobs.doctor
    python -m jobs.doctor cluster=h100_2x8_8x400g paths.storage=/shared/runs

Output:
    A verdict a line; the exit code is 1 where one of them is a failure.
"""

from s1ray.config.doctor import DoctorConfig
from s1ray.orchestration.doctor.examine import prepare_doctor, run_doctor
from s1ray.orchestration.launch import launch

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="doctor",
        schema=DoctorConfig,
        prepare=prepare_doctor,
        run=run_doctor,
    )
