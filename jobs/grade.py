r"""Grade the stored outputs of any system, and list where a stored verdict disagrees.

Examples:
    python -m jobs.grade input=outputs.jsonl.gz output=graded.jsonl \
        fields.text=response fields.gold=answer fields.verdict=is_correct

Output:
    The output file: the input's rows, each with its verdict, what was extracted and which
    layer decided.
"""

from s1ray.config.grade import GradeConfig
from s1ray.orchestration.answering.offline import prepare_grade, run_grade
from s1ray.orchestration.launch import launch

if __name__ == "__main__":
    launch(
        doc=__doc__ or "",
        primary="grade",
        schema=GradeConfig,
        prepare=prepare_grade,
        run=run_grade,
    )
