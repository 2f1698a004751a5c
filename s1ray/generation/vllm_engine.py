"""An engine on vLLM: continuous batching and prefix caching, one request per continuation.

The only module that imports vLLM, and only when an engine is built, so that the rest of the house
runs without it. It knows how a request is put to vLLM in token ids. Budgets are not vLLM's affair
here: its own ``thinking_token_budget`` caps, but cannot suppress an end and go on.
"""

import copy
import importlib
import itertools
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from s1ray.generation.engine import (
    Generation,
    Listener,
    Request,
    check_request,
    find_stop,
    list_forbidden,
)
from s1ray.generation.sampling import derive_seed

FORBIDDING_BIAS = -100.0
"""The strongest bias that vLLM takes; far beyond the spread of a model's scores."""


_COUNTS = ("forward_passes", "prefill_tokens", "reused_tokens", "decoded_tokens")


class VllmEngine:
    """Continues contexts on vLLM's AsyncLLM.

    A continuation is submitted with its whole context, which prefix caching makes cheap. Noise
    depends on the seed and on where a submission begins: a sampled result is reproduced by the
    same requests, not by the same chain cut otherwise.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        context_tokens: int,
        num_adapters: int,
        settings: Mapping[str, Any],
    ) -> None:
        """Load the model; takes a minute or more.

        Args:
            model_path: A Hugging Face directory with its tokenizer.
            context_tokens: The longest context with its continuation.
            num_adapters: How many ``with_adapter`` will be asked for; they share the weights.
            settings: Further arguments of vLLM's AsyncEngineArgs.

        Raises:
            ValueError: vLLM is not installed.
        """
        self._vllm = _import_vllm()
        self._context_tokens = context_tokens
        self._counts = dict.fromkeys(_COUNTS, 0)
        arguments = self._vllm.AsyncEngineArgs(
            model=str(model_path),
            max_model_len=context_tokens,
            trust_remote_code=False,
            **{"enable_lora": True, "max_loras": num_adapters} if num_adapters else {},
            **settings,
        )
        engines: Any = importlib.import_module("vllm.v1.engine.async_llm")
        self._engine: Any = engines.AsyncLLM.from_engine_args(
            arguments, stat_loggers=[lambda *_: _PassCounter(self._counts)]
        )
        self._adapter: Any = None
        self._adapter_numbers = itertools.count(1)
        # vLLM refuses contexts with ids that the tokenizer lacks, though a model can draw them.
        num_known, num_scores = _count_ids(model_path)
        self._vocabulary_size = min(num_known, num_scores)
        self._beyond = range(self._vocabulary_size, num_scores)
        self._numbers = itertools.count()

    @property
    def context_tokens(self) -> int:
        """The longest context plus continuation it can hold."""
        return self._context_tokens

    @property
    def vocabulary_size(self) -> int:
        """Ids at or above this are refused, and never drawn."""
        return self._vocabulary_size

    def with_adapter(self, adapter: Path) -> "VllmEngine":
        """Return this engine under a PEFT adapter's directory; closing either closes both."""
        adapters: Any = importlib.import_module("vllm.lora.request")
        adapted = copy.copy(self)
        adapted._adapter = adapters.LoRARequest(
            str(adapter), next(self._adapter_numbers), str(adapter)
        )
        return adapted

    async def generate(self, request: Request, *, listener: Listener | None = None) -> Generation:
        """Continue one context. Concurrent calls share batches; a cancelled one stops its own.

        vLLM stops at single tokens: where a stop sequence has several, it is stopped at the last
        of them, and goes on if the sequence is not there. A token that would complete a sequence
        too early is drawn again without it.

        Raises:
            ValueError: The request does not fit the context window or holds ids out of vocabulary.
        """
        check_request(
            request, context_tokens=self._context_tokens, vocabulary_size=self._vocabulary_size
        )
        generated: list[int] = []
        forbidden: frozenset[int] = frozenset()
        stop = None
        while stop is None and len(generated) < request.max_tokens:
            pieces = self._submit(request, generated, forbidden, is_heard=listener is not None)
            forbidden = frozenset()
            async with aclosing(pieces):
                async for new in pieces:
                    before = len(generated)
                    stop, forbidden = _take(generated, new, request)
                    if listener is not None and len(generated) > before:
                        listener(tuple(generated[before:]))
                    if stop is not None or forbidden:
                        break
        return Generation(token_ids=tuple(generated), stop_sequence=stop)

    def counters(self) -> Mapping[str, int]:
        """Return engine steps, prompt tokens computed and reused, and tokens generated so far."""
        return dict(self._counts)

    async def close(self) -> None:
        """Shut vLLM down. Pending requests are cancelled."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.shutdown()

    async def _submit(
        self,
        request: Request,
        generated: Sequence[int],
        forbidden: frozenset[int],
        *,
        is_heard: bool,
    ) -> AsyncGenerator[list[int], None]:
        """Have vLLM continue once, as far as one submission can follow the request.

        Yields:
            New tokens: each as it comes where somebody listens, else all at the end.
        """
        context = [*request.token_ids, *generated]
        parameters = self._describe(request, len(generated), forbidden, is_heard=is_heard)
        outputs = self._engine.generate(
            self._vllm.TokensPrompt(prompt_token_ids=context),
            parameters,
            str(next(self._numbers)),
            lora_request=self._adapter,
        )
        is_first = True
        async with aclosing(outputs):
            async for output in outputs:
                new = list(output.outputs[0].token_ids)
                if is_first:
                    num_reused = output.num_cached_tokens or 0
                    self._counts["reused_tokens"] += num_reused
                    self._counts["prefill_tokens"] += len(context) - num_reused
                is_first = False
                self._counts["decoded_tokens"] += len(new)
                yield new

    def _describe(
        self, request: Request, num_generated: int, forbidden: frozenset[int], *, is_heard: bool
    ) -> Any:  # noqa: ANN401 - vLLM's SamplingParams
        """Return what one submission asks for."""
        left = request.max_tokens - num_generated
        held_back = max(0, request.min_tokens - num_generated)
        stops = {stop[-1] for stop in request.stop_sequences if len(stop) == 1 or not held_back}
        is_long = any(len(stop) > 1 for stop in request.stop_sequences)
        if forbidden:
            left = 1
        elif held_back and is_long:
            # vLLM would hold back the last token of a long sequence wherever it stands.
            left = held_back
        sampling, kinds = request.sampling, self._vllm.sampling_params.RequestOutputKind
        seed = derive_seed(sampling.seed, len(request.token_ids) + num_generated)
        return self._vllm.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            seed=seed if sampling.temperature > 0 else None,
            min_tokens=min(held_back, left),
            max_tokens=left,
            stop_token_ids=sorted(stops),
            ignore_eos=True,
            detokenize=False,
            logit_bias=dict.fromkeys([*self._beyond, *forbidden], FORBIDDING_BIAS) or None,
            output_kind=kinds.DELTA if is_heard else kinds.FINAL_ONLY,
        )


def _import_vllm() -> Any:  # noqa: ANN401 - a module without types
    try:
        return importlib.import_module("vllm")
    except ImportError as error:
        raise ValueError(
            f"engine=vllm needs vLLM, and importing it failed ({error}); install the extra "
            "dependency s1ray[vllm], or set engine=transformers."
        ) from error


def _count_ids(model_path: Path) -> tuple[int, int]:
    """Return how many ids the tokenizer knows, and how many the model scores."""
    tokenizer = AutoTokenizer.from_pretrained(
        model_path, local_files_only=True, trust_remote_code=False
    )
    config = AutoConfig.from_pretrained(model_path, local_files_only=True)
    return len(tokenizer), config.vocab_size


def _take(
    generated: list[int], new: Sequence[int], request: Request
) -> tuple[tuple[int, ...] | None, frozenset[int]]:
    """Add new tokens up to a stop, or up to one that came too early.

    Returns:
        The stop sequence that ended it, and what must not be drawn at its place instead.
    """
    for token in new:
        barred = list_forbidden(request, generated)
        if token in barred:
            return None, barred
        generated.append(token)
        stop = find_stop(generated, request.stop_sequences)
        if stop is not None:
            return stop, frozenset()
    return None, frozenset()


class _PassCounter:
    """Counts engine steps; what vLLM asks of a logger of its statistics."""

    def __init__(self, counts: dict[str, int]) -> None:
        self._counts = counts

    def record(self, _: object, iteration_stats: object, *__: object, **___: object) -> None:
        self._counts["forward_passes"] += iteration_stats is not None

    def log_engine_initialized(self) -> None:
        pass

    def log(self) -> None:
        pass

    def record_sleep_state(self, *_: object) -> None:
        pass
