"""Stand-ins for models: a toy tokenizer, and an engine whose next token is a given function."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from s1ray.chat_format import DELIMITERS, ThinkingTokens, read_thinking_tokens
from s1ray.config.generation import Accounting
from s1ray.generation.budget import BudgetPolicy
from s1ray.generation.engine import (
    Generation,
    Listener,
    Request,
    Sampling,
    check_request,
    find_stop,
)

PIECES = (
    "<|im_start|>",
    "<|im_end|>",
    "think",
    "answer",
    "\n",
    "Wait",
    "Hmm",
    "Final Answer:",
    "</",
    "<",
    ">",
    ">\n\n",
    "\n\n",
    " steps left",
    "Think for up to ",
    *"abcdefgh012. ",
)
IDS = {piece: number for number, piece in enumerate(PIECES)}
GREEDY = Sampling(temperature=0.0, top_p=1.0, top_k=0, seed=0)
WAIT = BudgetPolicy(
    name="wait",
    max_thinking_tokens=30,
    num_waits=1,
    wait_strings=("Wait", "Hmm"),
    min_thinking_tokens=0,
    answer_prefix="Final Answer:",
    max_answer_tokens=5,
    accounting=Accounting.TOTAL,
)
GRID = [
    *(replace(WAIT, num_waits=0, max_thinking_tokens=cap) for cap in (0, 4, 9, 17, 30, None)),
    *(replace(WAIT, num_waits=number) for number in (1, 2, 3)),
    replace(WAIT, num_waits=2, wait_strings=("",)),
    replace(WAIT, num_waits=2, accounting=Accounting.S1_HARNESS, max_thinking_tokens=12),
]
"""Policies that differ in each of their settings."""


class ToyTokenizer:
    """Longest match over a few pieces; like Qwen2.5's it has one piece for the text '>\\n\\n'."""

    eos_token_id: int | None = IDS["<|im_end|>"]
    chat_template = "toy"

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        ids = []
        while text:
            piece = max((piece for piece in PIECES if text.startswith(piece)), key=len)
            ids.append(IDS[piece])
            text = text[len(piece) :]
        return ids

    def decode(
        self,
        token_ids: Sequence[int],
        *,
        skip_special_tokens: bool,
        clean_up_tokenization_spaces: bool,
    ) -> str:
        assert not skip_special_tokens
        assert not clean_up_tokenization_spaces
        return "".join(PIECES[token] for token in token_ids)

    def apply_chat_template(
        self,
        conversation: list[dict[str, str]],
        *,
        tokenize: bool,
        add_generation_prompt: bool,
        **_: object,
    ) -> str:
        assert not tokenize
        turns = "".join(f"a{turn['content']}<|im_end|>" for turn in conversation)
        return turns + "b" * add_generation_prompt


def ids_of(text: str) -> tuple[int, ...]:
    return tuple(ToyTokenizer().encode(text, add_special_tokens=False))


def toy_tokens(preset: str) -> ThinkingTokens:
    return read_thinking_tokens(ToyTokenizer(), DELIMITERS[preset])


def random_language(salt: int, favourites: tuple[int, ...]) -> Callable[[Request, tuple], int]:
    """A model as a pure function of context and seed; the favourites come half of the time."""

    def next_token(request: Request, generated: tuple[int, ...]) -> int:
        seed = request.sampling.seed if request.sampling.temperature else 0
        draw = random.Random(hash((salt, seed, *request.token_ids, *generated)))
        while True:
            is_favourite = favourites and draw.random() < 0.5
            token = draw.choice(favourites) if is_favourite else draw.randrange(len(PIECES))
            if not is_masked(request, generated, token):
                return token

    return next_token


def replayed(words: Sequence[int]) -> Callable[[Request, tuple], int]:
    """A model that writes given ids in order, whatever the context; then the last one for ever."""
    state = {"place": 0}

    def next_token(request: Request, generated: tuple[int, ...]) -> int:
        token = words[min(state["place"], len(words) - 1)]
        state["place"] += 1
        return token

    return next_token


def is_masked(request: Request, generated: tuple[int, ...], token: int) -> bool:
    longer = (*generated, token)
    return any(
        longer[-len(stop) :] == stop and len(longer) - len(stop) < request.min_tokens
        for stop in request.stop_sequences
    )


class ScriptedEngine:
    """An engine whose next token is a function of the request and what it generated so far."""

    def __init__(
        self, next_token: Callable[[Request, tuple], int], *, context_tokens: int = 4096
    ) -> None:
        self.next_token = next_token
        self.context_tokens = context_tokens
        self.vocabulary_size = len(PIECES)
        self.requests: list[Request] = []
        self.decoded_tokens = 0
        self.is_closed = False

    async def generate(self, request: Request, *, listener: Listener | None = None) -> Generation:
        check_request(
            request, context_tokens=self.context_tokens, vocabulary_size=self.vocabulary_size
        )
        self.requests.append(request)
        generated: tuple[int, ...] = ()
        while len(generated) < request.max_tokens:
            await asyncio.sleep(0)
            generated = (*generated, self.next_token(request, generated))
            self.decoded_tokens += 1
            if listener is not None:
                listener(generated[-1:])
            if stop := find_stop(generated, request.stop_sequences):
                return Generation(token_ids=generated, stop_sequence=stop)
        return Generation(token_ids=generated, stop_sequence=None)

    def counters(self) -> Mapping[str, int]:
        return {"decoded_tokens": self.decoded_tokens}

    async def close(self) -> None:
        self.is_closed = True
