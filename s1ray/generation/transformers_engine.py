"""An engine in this process: a transformers model on CPU or one GPU, decoded in one thread.

It knows asyncio, its worker thread and which models it can hold. How requests share passes is the
decoder's affair (``batch_decoder``).
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from s1ray.generation.decoding.batch_decoder import BatchDecoder, Job
from s1ray.generation.decoding.slot_cache import SlotCache
from s1ray.generation.engine import Generation, Listener, Request, check_request


def load_model(
    directory: Path, *, dtype: str, device: str, adapter: Path | None
) -> PreTrainedModel:
    """Load a causal language model for generation from a Hugging Face directory.

    Args:
        directory: Configuration and safetensors.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        device: Such as ``cpu`` or ``cuda:0``.
        adapter: A PEFT adapter's directory, kept beside the weights; None for none.
    """
    model = AutoModelForCausalLM.from_pretrained(
        directory,
        dtype=getattr(torch, dtype),
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        attn_implementation="sdpa",
    )
    if adapter is not None:
        # Beside the weights, as in training: a base in bfloat16 is not rounded once more.
        model.load_adapter(str(adapter), adapter_kwargs={"local_files_only": True})
    module: torch.nn.Module = model
    module.to(device).eval()
    loaded: PreTrainedModel = model
    return loaded


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiter:
    """Who waits for a job, and where."""

    future: asyncio.Future[Generation]
    loop: asyncio.AbstractEventLoop
    listener: Listener | None
    num_heard: int = 0

    def hear(self, token_ids: tuple[int, ...]) -> None:
        if self.listener is not None and not self.future.done():
            self.listener(token_ids)


class TransformersEngine:
    """Continues contexts on a transformers model; concurrent calls share its passes.

    Slots are refilled as requests end, without a barrier. In float32 a result equals that of
    ``model.generate`` on the same context alone, apart from numerical ties.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        max_batch_size: int,
        cache_slots: int,
        max_prefill_tokens: int,
        context_tokens: int,
        num_threads: int | None,
    ) -> None:
        """Start the worker thread.

        Args:
            model: Loaded, on its device, with PyTorch's own attention ("sdpa").
            max_batch_size: Samples decoded in one step.
            cache_slots: Contexts whose keys and values are kept, those being decoded included.
            max_prefill_tokens: Prompt tokens of one pass.
            context_tokens: The longest context with its continuation.
            num_threads: Of one forward pass on CPU; None leaves torch's own choice.

        Raises:
            ValueError: The model's attention or its window does not fit.
        """
        _check_model(model, context_tokens)
        self._context_tokens = context_tokens
        self._vocabulary_size: int = model.config.vocab_size
        self._decoder = BatchDecoder(
            model,
            cache=_open_cache(model, num_slots=cache_slots, context_tokens=context_tokens),
            num_slots=cache_slots,
            max_batch_size=max_batch_size,
            max_prefill_tokens=max_prefill_tokens,
        )
        self._num_threads = num_threads
        self._waiters: dict[Job, _Waiter] = {}
        self._incoming: deque[Job] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="decoder", daemon=True)
        self._thread.start()

    @property
    def context_tokens(self) -> int:
        """The longest context plus continuation it can hold."""
        return self._context_tokens

    @property
    def vocabulary_size(self) -> int:
        """Ids at or above this are refused."""
        return self._vocabulary_size

    async def generate(self, request: Request, *, listener: Listener | None = None) -> Generation:
        """Continue one context. Concurrent calls share batches; a cancelled one stops its own.

        Raises:
            ValueError: The request does not fit the context window or holds ids out of vocabulary.
            RuntimeError: The engine is closed, or the model failed on a batch.
        """
        check_request(
            request, context_tokens=self._context_tokens, vocabulary_size=self._vocabulary_size
        )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Generation] = loop.create_future()
        job = Job(request=request)
        with self._changed:
            if self._is_closed:
                raise RuntimeError("the engine is closed; build another one.")
            self._waiters[job] = _Waiter(future=future, loop=loop, listener=listener)
            self._incoming.append(job)
            self._changed.notify()
        try:
            return await future
        finally:
            job.is_cancelled = True
            self._waiters.pop(job, None)

    def counters(self) -> Mapping[str, int]:
        """Return passes, prompt tokens computed and reused, and tokens generated so far."""
        return dict(self._decoder.counts)

    async def close(self) -> None:
        """Stop the worker thread. Pending requests are cancelled."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)
        for waiter in list(self._waiters.values()):
            waiter.loop.call_soon_threadsafe(waiter.future.cancel)

    def _work(self) -> None:
        if self._num_threads is not None:
            torch.set_num_threads(self._num_threads)
        while self._take_incoming():
            try:
                ended = self._decoder.step()
            except Exception as error:
                self._decoder.forget_all()
                for job in self._list_taken():
                    self._fail(job, error)
                continue
            for job in (*self._decoder.list_active(), *(job for job, _ in ended)):
                self._tell(job)
            for job, generation in ended:
                self._resolve(job, generation)

    def _take_incoming(self) -> bool:
        """Move new requests to the decoder, waiting while there is no work; False at the end."""
        with self._changed:
            while self._decoder.is_idle and not self._incoming and not self._is_closed:
                self._changed.wait()
            while self._incoming:
                self._decoder.add(self._incoming.popleft())
            return not self._is_closed

    def _list_taken(self) -> list[Job]:
        """Return the jobs that the decoder was given and that somebody still waits for.

        The decoder itself cannot say: one that a step failed at may have left its slot, or its
        queue, and not have come back.
        """
        with self._changed:
            return [job for job in list(self._waiters) if job not in self._incoming]

    def _tell(self, job: Job) -> None:
        """Have a job's listener hear what is new."""
        waiter = self._waiters.get(job)
        if waiter is None or waiter.listener is None:
            return
        new = tuple(job.generated[waiter.num_heard :])
        waiter.num_heard += len(new)
        with contextlib.suppress(RuntimeError):  # as in _deliver
            waiter.loop.call_soon_threadsafe(waiter.hear, new)

    def _resolve(self, job: Job, generation: Generation) -> None:
        self._deliver(job, lambda future: future.set_result(generation))

    def _fail(self, job: Job, error: Exception) -> None:
        failure = RuntimeError(f"the model failed on a batch: {error}")
        failure.__cause__ = error
        self._deliver(job, lambda future: future.set_exception(failure))

    def _deliver(self, job: Job, settle: Callable[[asyncio.Future[Generation]], None]) -> None:
        waiter = self._waiters.get(job)
        if waiter is None:
            return

        def settle_once() -> None:
            if not waiter.future.done():
                settle(waiter.future)

        # A loop that was closed meanwhile has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            waiter.loop.call_soon_threadsafe(settle_once)


def _check_model(model: PreTrainedModel, context_tokens: int) -> None:
    config = model.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    seen = getattr(config, "sliding_window", None) or context_tokens
    if not kinds <= {"full_attention", "sliding_attention"} or seen < context_tokens:
        raise ValueError(
            f"the model {config.model_type} has layers of {', '.join(sorted(kinds))} and a window "
            f"of {seen} tokens in them; this engine holds models whose layers all see the whole "
            f"context of {context_tokens}. Use engine=vllm for it, or a smaller "
            "model.context_tokens."
        )
    window = config.max_position_embeddings
    if context_tokens > window:
        raise ValueError(
            f"model.context_tokens={context_tokens} exceeds the model's {window} positions. "
            f"Lower it to {window} at most."
        )


def _open_cache(model: PreTrainedModel, *, num_slots: int, context_tokens: int) -> SlotCache:
    config = model.config
    num_heads = config.num_attention_heads
    return SlotCache(
        num_layers=config.num_hidden_layers,
        num_slots=num_slots,
        num_heads=getattr(config, "num_key_value_heads", None) or num_heads,
        head_size=getattr(config, "head_dim", None) or config.hidden_size // num_heads,
        context_tokens=context_tokens,
        dtype=model.dtype,
        device=model.device,
    )
