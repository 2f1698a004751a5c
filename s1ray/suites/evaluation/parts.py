"""The evaluation suite: its settings and its parts."""

from collections.abc import Mapping

from s1ray.config.suites.evaluation import EvaluationSettings
from s1ray.suites.evaluation.grading import measure_grading
from s1ray.suites.evaluation.kills import measure_kills
from s1ray.suites.evaluation.replicas import measure_replicas
from s1ray.suites.evaluation.stream import measure_first_result, measure_sink
from s1ray.suites.suite import Part

SETTINGS = EvaluationSettings
PARTS: Mapping[str, Part] = {
    "grading": measure_grading,
    "replicas": measure_replicas,
    "kills": measure_kills,
    "first_result": measure_first_result,
    "sink": measure_sink,
}
