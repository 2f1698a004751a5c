"""Compare two evaluations of one protocol: paired differences, intervals, first diverging tokens.

Examples:
    python -m jobs.compare a=runs/evaluate/RUN b=runs/evaluate/RUN
    python -m jobs.compare a=runs/evaluate/RUN b=runs/evaluate/RUN allow=[items]

Output:
    A table: both accuracies, b minus a, n questions, how many samples differ; and the same in
    b/comparison-A.json (A: the name of a).
"""

from s1ray.config.compare import CompareConfig
from s1ray.orchestration.answering.offline import prepare_compare, run_compare
from s1ray.orchestration.launch import launch

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="compare",
        schema=CompareConfig,
        prepare=prepare_compare,
        run=run_compare,
    )
