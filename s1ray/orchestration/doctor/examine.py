"""``jobs.doctor``: the examination of a running cluster, a verdict a line."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from s1ray.config.doctor import DoctorConfig
from s1ray.orchestration.cluster.session import ray_session
from s1ray.orchestration.doctor.examination import Examination
from s1ray.orchestration.doctor.finding import Finding, Verdict, fail_check
from s1ray.orchestration.terminal import complain, say
from s1ray.planning.cluster import Cluster, read_cluster

_EXIT_UNFIT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorPlan:
    """What is examined; nothing has been asked."""

    config: DoctorConfig
    planned: Cluster


def prepare_doctor(config: DoctorConfig) -> DoctorPlan:
    """Read what the cluster should be.

    Raises:
        ValueError: The description has several nodes and nothing between them.
    """
    return DoctorPlan(config=config, planned=read_cluster(config.cluster))


def run_doctor(plan: DoctorPlan) -> str:
    """Print every verdict as it is reached, and return how many there are of each kind.

    Raises:
        SystemExit: One of them is a failure.
    """
    counts: Counter[Verdict] = Counter()
    for finding in _examine(plan):
        counts[finding.verdict] += 1
        tell = say if finding.verdict is Verdict.OK else complain
        tell(f"{finding.verdict.value:<4}  {finding.check:<16}  {finding.found}")
        if finding.fix:
            tell(f"{'':<24}-> {finding.fix}")
    summary = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict)
    if counts[Verdict.FAIL]:
        complain(summary)
        raise SystemExit(_EXIT_UNFIT)
    return summary


def _examine(plan: DoctorPlan) -> Iterator[Finding]:
    try:
        with ray_session(plan.config.ray):
            yield from Examination(plan.config, planned=plan.planned).examine()
    except ConnectionError as error:
        yield fail_check(
            "cluster",
            str(error),
            fix="where it demands a token, have that at hand as well",
        )
