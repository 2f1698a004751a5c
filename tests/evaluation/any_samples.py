"""Samples of every shape that a store may meet."""

from hypothesis import strategies as st

from s1ray.evaluation.samples import EvaluatedSample, SampleTask
from s1ray.records import Completion, GradedAnswer, ThinkingEnd, Verdict

IDS = st.lists(st.integers(0, 200_000), max_size=5).map(tuple)
TEXTS = st.text(st.characters(), max_size=20)  # surrogates and line separators among them

ANY_SAMPLE = st.builds(
    EvaluatedSample,
    task=st.builds(
        SampleTask,
        benchmark=TEXTS,
        item=TEXTS,
        sample=st.integers(0, 99),
        policy=TEXTS,
        model=TEXTS,
        seed=st.integers(0, 2**31 - 1),
    ),
    question=st.none() | TEXTS,
    gold=TEXTS,
    completion=st.builds(
        Completion,
        thinking=TEXTS,
        answer=TEXTS,
        thinking_ids=IDS,
        answer_ids=IDS,
        wait_positions=IDS,
        num_waits_applied=st.integers(0, 9),
        num_generated_tokens=st.integers(0, 99999),
        thinking_end=st.sampled_from(ThinkingEnd),
        is_answer_forced=st.booleans(),
        is_answer_complete=st.booleans(),
    ),
    graded=st.builds(
        GradedAnswer,
        verdict=st.sampled_from(Verdict),
        extracted=st.none() | TEXTS,
        layer=st.none() | TEXTS,
    ),
)
