"""What a solver asks an engine: the question, the policy's own words, the sample's seed."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from s1ray.chat_format import DELIMITERS, decode, read_thinking_tokens
from s1ray.config.generation import SamplingConfig
from s1ray.evaluation.samples import SampleGroup
from s1ray.evaluation.solver import Solver
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.engine import Generation, Request
from s1ray.model_source.model_directory import load_tokenizer
from s1ray.model_source.random_model import build_byte_tokenizer
from s1ray.records import AnswerKind, Question
from tests.evaluation.builders import make_policy


class EchoEngine:
    """Ends every continuation at once and remembers what it was asked."""

    context_tokens = 4096
    vocabulary_size = 10**6

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def generate(self, request: Request) -> Generation:
        self.requests.append(request)
        stop = request.stop_sequences[-1]
        return Generation(token_ids=stop, stop_sequence=stop)

    def counters(self) -> dict[str, int]:
        return {}

    async def close(self) -> None:
        return None


@pytest.fixture
def group() -> SampleGroup:
    question = Question(
        id="q", text="What is 1 + 1?", answer="2", answer_kind=AnswerKind.INTEGER, source="s",
        domain=None, solution=None,
    )  # fmt: skip
    return SampleGroup(
        benchmark="b", question=question, is_private=False, sample=0, seed=7, model="m",
        policies=("plain", "asked"),
    )  # fmt: skip


def _policies() -> dict[str, BudgetPolicy]:
    plain = make_policy("plain")
    asked = replace(plain, name="asked", instruction="\n\nThink for up to 16 tokens.")
    return {policy.name: policy for policy in (plain, asked)}


def _solver(path: Path, engine: EchoEngine, policies: dict[str, BudgetPolicy]) -> Solver:
    build_byte_tokenizer(max_length=4096).save_pretrained(path)
    tokenizer = load_tokenizer(path)
    return Solver(
        engine=engine,
        tokenizer=tokenizer,
        tokens=read_thinking_tokens(tokenizer, DELIMITERS["s1"]),
        system_prompt=None,
        policies=policies,
        sampling=SamplingConfig(temperature=1.0, top_p=1.0, top_k=0),
    )


def test_solve_asks_each_policy_in_its_own_words_with_the_samples_seed(
    tmp_path: Path, group: SampleGroup
) -> None:
    engine = EchoEngine()
    solver = _solver(tmp_path, engine, _policies())
    tokenizer = solver.tokenizer

    async def collect() -> set[str]:
        return {name async for name, _ in solver.solve(group)}

    assert asyncio.run(collect()) == {"plain", "asked"}
    prompts = [decode(tokenizer, request.token_ids) for request in engine.requests]
    assert all("What is 1 + 1?" in prompt for prompt in prompts)
    assert sum("Think for up to 16 tokens." in prompt for prompt in prompts) == len(prompts) / 2
    assert {request.sampling.seed for request in engine.requests} == {7}


def test_a_policy_whose_words_do_not_fit_costs_no_other_policy(
    tmp_path: Path, group: SampleGroup
) -> None:
    policies = _policies()
    policies["asked"] = replace(policies["asked"], instruction="x" * 5000)
    solver = _solver(tmp_path, EchoEngine(), policies)
    solved = []

    async def collect() -> None:
        async for name, _ in solver.solve(replace(group, policies=("asked", "plain"))):
            solved.append(name)

    with pytest.raises(ValueError, match="context"):
        asyncio.run(collect())

    assert solved == ["plain"]
