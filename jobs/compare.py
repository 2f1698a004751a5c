"""Compare two evaluations of one protocol: paired differences, intervals, first diverging tokens.

python -m jobs.compare a=runs/evaluate/RUN b=runs/evaluate/RUN
"""

from s1ray.config.compare import CompareConfig
from s1ray.orchestration.launch import launch
from s1ray.orchestration.offline import prepare_compare, run_compare

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="compare",
        schema=CompareConfig,
        prepare=prepare_compare,
        run=run_compare,
    )
