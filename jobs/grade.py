r"""Grade the stored outputs of any system, and list where a stored verdict disagrees.

    python -m jobs.grade input=outputs.jsonl.gz output=graded.jsonl \
        fields.text=response fields.gold=answer fields.verdict=is_correct
"""

from s1ray.config.grade import GradeConfig
from s1ray.orchestration.launch import launch
from s1ray.orchestration.offline import prepare_grade, run_grade

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="grade",
        schema=GradeConfig,
        prepare=prepare_grade,
        run=run_grade,
    )
