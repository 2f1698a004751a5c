"""An engine on vLLM: continuous batching and prefix caching, one request per continuation.

The only module that imports vLLM, and only when an engine is built, so that the rest of the house
runs without it. It knows how a request is put to vLLM in token ids. Budgets are not vLLM's affair
here: its own ``thinking_token_budget`` caps, but cannot suppress an end and go on.
"""

import importlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from s1ray.generation.engine import (
    Generation,
    Request,
    check_request,
    find_stop,
    list_forbidden,
)
from s1ray.generation.sampling import derive_seed

FORBIDDING_BIAS = -100.0
"""The strongest bias that vLLM takes; far beyond the spread of a model's scores."""


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
        adapter: Path | None,
        settings: Mapping[str, Any],
    ) -> None:
        """Load the model; takes a minute or more.

        Args:
            model_path: A Hugging Face directory with its tokenizer.
            context_tokens: The longest context with its continuation.
            adapter: A PEFT adapter's directory; None for none.
            settings: Further arguments of vLLM's AsyncEngineArgs.

        Raises:
            ValueError: vLLM is not installed.
        """
        try:
            vllm: Any = importlib.import_module("vllm")
        except ImportError as error:
            raise ValueError(
                f"engine=vllm needs vLLM, and importing it failed ({error}); install the extra "
                "dependency s1ray[vllm], or set engine=transformers."
            ) from error
        self._vllm = vllm
        self._context_tokens = context_tokens
        self._counts = {
            "forward_passes": 0,
            "prefill_tokens": 0,
            "reused_tokens": 0,
            "decoded_tokens": 0,
        }
        arguments = vllm.AsyncEngineArgs(
            model=str(model_path),
            max_model_len=context_tokens,
            enable_lora=adapter is not None,
            trust_remote_code=False,
            **settings,
        )
        engines: Any = importlib.import_module("vllm.v1.engine.async_llm")
        self._engine: Any = engines.AsyncLLM.from_engine_args(
            arguments, stat_loggers=[lambda *_: _PassCounter(self._counts)]
        )
        self._adapter: Any = None
        if adapter is not None:
            adapters: Any = importlib.import_module("vllm.lora.request")
            self._adapter = adapters.LoRARequest("adapter", 1, str(adapter))
        tokenizer = AutoTokenizer.from_pretrained(
            model_path, local_files_only=True, trust_remote_code=False
        )
        num_scores: int = AutoConfig.from_pretrained(model_path, local_files_only=True).vocab_size
        # vLLM refuses contexts with ids that the tokenizer lacks, though a model can draw them.
        self._vocabulary_size = min(len(tokenizer), num_scores)
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

    async def generate(self, request: Request) -> Generation:
        """Continue one context. Concurrent calls share batches.

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
        while len(generated) < request.max_tokens:
            new = await self._submit(request, generated, forbidden)
            forbidden = frozenset()
            for token in new:
                barred = list_forbidden(request, generated)
                if token in barred:
                    forbidden = barred
                    break
                generated.append(token)
                stop = find_stop(generated, request.stop_sequences)
                if stop is not None:
                    return Generation(token_ids=tuple(generated), stop_sequence=stop)
        return Generation(token_ids=tuple(generated), stop_sequence=None)

    def counters(self) -> Mapping[str, int]:
        """Return engine steps, prompt tokens computed and reused, and tokens generated so far."""
        return dict(self._counts)

    async def close(self) -> None:
        """Shut vLLM down. Pending requests are cancelled."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.shutdown()

    async def _submit(
        self, request: Request, generated: list[int], forbidden: frozenset[int]
    ) -> list[int]:
        """Have vLLM continue once, as far as one submission can follow the request."""
        context = [*request.token_ids, *generated]
        left = request.max_tokens - len(generated)
        held_back = max(0, request.min_tokens - len(generated))
        stops = {stop[-1] for stop in request.stop_sequences if len(stop) == 1 or not held_back}
        is_long = any(len(stop) > 1 for stop in request.stop_sequences)
        if forbidden:
            left = 1
        elif held_back and is_long:
            # vLLM would hold back the last token of a long sequence wherever it stands.
            left = held_back
        sampling = request.sampling
        parameters = self._vllm.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            seed=derive_seed(sampling.seed, len(context)) if sampling.temperature > 0 else None,
            min_tokens=min(held_back, left),
            max_tokens=left,
            stop_token_ids=sorted(stops),
            ignore_eos=True,
            detokenize=False,
            logit_bias=dict.fromkeys([*self._beyond, *forbidden], FORBIDDING_BIAS) or None,
            output_kind=self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY,
        )
        outputs = self._engine.generate(
            self._vllm.TokensPrompt(prompt_token_ids=context),
            parameters,
            str(next(self._numbers)),
            lora_request=self._adapter,
        )
        async for output in outputs:
            new = list(output.outputs[0].token_ids)
            self._counts["reused_tokens"] += output.num_cached_tokens or 0
            self._counts["prefill_tokens"] += len(context) - (output.num_cached_tokens or 0)
            self._counts["decoded_tokens"] += len(new)
        return new


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
