"""Many requests through one model, a token each per step; synchronous, for one thread.

It knows slots, prefixes and passes. It does not know threads or asyncio (``transformers_engine``)
nor where the model came from. Slots that decode are rows 0 .. n-1 of the cache, so that a pass
reads a plain slice; the others keep the keys and values of finished contexts, and a request that
begins with such a context computes its new tokens alone.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel

from s1ray.generation.decoding.slot_cache import SlotCache
from s1ray.generation.decoding.token_choice import Choice, choose_tokens
from s1ray.generation.engine import Generation, Request, find_stop, list_forbidden


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way through the decoder."""

    request: Request
    generated: list[int] = field(default_factory=list)
    is_cancelled: bool = False
    """Set by whoever waits for it, from any thread; the decoder then drops it."""


@dataclass(slots=True, eq=False)
class _Slot:
    """A row of the cache and what it holds."""

    tokens: list[int] = field(default_factory=list)
    num_cached: int = 0
    """Leading tokens whose keys and values are in the cache."""
    job: Job | None = None
    last_used: int = 0

    @property
    def num_pending(self) -> int:
        return len(self.tokens) - self.num_cached

    def count_shared(self, context: list[int]) -> int:
        """Return how many leading tokens of a context are cached here."""
        low, high = 0, min(self.num_cached, len(context))
        if self.tokens[:high] == context[:high]:
            return high
        while high - low > 1:
            middle = (low + high) // 2
            if self.tokens[low:middle] == context[low:middle]:
                low = middle
            else:
                high = middle
        return low


class BatchDecoder:
    """Continues the contexts of its jobs, refilling slots as jobs end."""

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        cache: SlotCache,
        num_slots: int,
        max_batch_size: int,
        max_prefill_tokens: int,
    ) -> None:
        self._model = model
        self._cache = cache
        self._slots = [_Slot() for _ in range(num_slots)]
        self._num_active = 0
        self._max_batch_size = max_batch_size
        self._max_prefill_tokens = max_prefill_tokens
        self._continued: deque[Job] = deque()
        self._fresh: deque[Job] = deque()
        self._clock = 0
        self.counts = {
            "forward_passes": 0,
            "prefill_tokens": 0,
            "reused_tokens": 0,
            "decoded_tokens": 0,
        }

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._num_active or self._continued or self._fresh)

    def add(self, job: Job) -> None:
        """Queue a job; one that continues a kept context goes before fresh ones."""
        context = list(job.request.token_ids[:-1])
        is_continued = any(
            slot.job is None and 0 < slot.num_cached == slot.count_shared(context)
            for slot in self._slots
        )
        (self._continued if is_continued else self._fresh).append(job)

    @torch.inference_mode()
    def step(self) -> list[tuple[Job, Generation]]:
        """Admit what fits, advance every active job by a token; return those that ended."""
        for row in reversed(range(self._num_active)):
            if self._job(row).is_cancelled:
                self._release(row)
        self._prefill(self._admit())
        if not self._num_active:
            return []
        rows = range(self._num_active)
        logits = self._decode(rows)
        choices = [_describe_choice(self._job(row)) for row in rows]
        for row, token in enumerate(choose_tokens(logits, choices)):
            self._slots[row].tokens.append(token)
            self._job(row).generated.append(token)
        self.counts["decoded_tokens"] += len(rows)
        return self._collect()

    def list_active(self) -> list[Job]:
        """Return the jobs that hold a slot."""
        return [self._job(row) for row in range(self._num_active)]

    def forget_all(self) -> None:
        """Give up every job and forget every context, as after an error in a step."""
        self._continued.clear()
        self._fresh.clear()
        self._slots = [_Slot() for _ in self._slots]
        self._num_active = 0

    def _job(self, row: int) -> Job:
        job = self._slots[row].job
        assert job is not None
        return job

    def _collect(self) -> list[tuple[Job, Generation]]:
        ended = []
        for row in reversed(range(self._num_active)):
            job = self._job(row)
            stop = find_stop(job.generated, job.request.stop_sequences)
            if stop is not None or len(job.generated) == job.request.max_tokens:
                self._release(row)
                generation = Generation(token_ids=tuple(job.generated), stop_sequence=stop)
                ended.append((job, generation))
        return ended

    def _release(self, row: int) -> None:
        self._num_active -= 1
        self._clock += 1
        self._slots[row].job = None
        self._slots[row].last_used = self._clock
        self._swap(row, self._num_active)

    def _swap(self, first: int, second: int) -> None:
        slots = self._slots
        num_tokens = max(slots[first].num_cached, slots[second].num_cached)
        if first != second and num_tokens:
            self._cache.swap_rows(first, second, num_tokens=num_tokens)
        slots[first], slots[second] = slots[second], slots[first]

    def _admit(self) -> range:
        """Give slots to waiting jobs; return the rows that are new."""
        first = self._num_active
        postponed = []
        while self._num_active < self._max_batch_size and (self._continued or self._fresh):
            job = (self._continued or self._fresh).popleft()
            if job.is_cancelled:
                continue
            context = list(job.request.token_ids)
            shared = [slot.count_shared(context[:-1]) for slot in self._slots]
            if self._is_better_later(context, max(shared), self._slots[first : self._num_active]):
                postponed.append(job)
            else:
                self._place(job, context, shared)
        self._fresh.extendleft(reversed(postponed))
        return range(first, self._num_active)

    def _is_better_later(
        self, context: list[int], num_shared: int, admitted: Sequence[_Slot]
    ) -> bool:
        """Whether most of a prompt is about to be computed for another job of this round."""
        return any(
            2 * (_count_common(slot.tokens, context) - num_shared) > len(context)
            for slot in admitted
        )

    def _place(self, job: Job, context: list[int], shared: list[int]) -> None:
        """Put a job into a slot, with the longest prefix that any slot holds."""
        source = max(range(len(shared)), key=shared.__getitem__)
        num_shared = shared[source]
        target = source
        if source < self._num_active or num_shared < self._slots[source].num_cached:
            idle = range(self._num_active, len(self._slots))
            oldest = sorted(idle, key=lambda row: self._slots[row].last_used)
            target = next((row for row in oldest if row != source), source)
        if target != source and num_shared:
            self._cache.copy_prefix(source, target, num_tokens=num_shared)
        self._slots[target] = _Slot(tokens=context, num_cached=num_shared, job=job)
        self._swap(target, self._num_active)
        self._num_active += 1
        self.counts["reused_tokens"] += num_shared

    def _prefill(self, rows: range) -> None:
        """Compute the contexts of new rows up to their last token, which decoding feeds."""
        while True:
            waiting = [row for row in rows if self._slots[row].num_pending > 1]
            if not waiting:
                return
            waiting.sort(key=lambda row: self._slots[row].num_pending, reverse=True)
            width = min(self._slots[waiting[0]].num_pending - 1, self._max_prefill_tokens)
            # Rows less than half as long would be mostly padding; they have their own pass.
            group = [row for row in waiting if 2 * (self._slots[row].num_pending - 1) >= width]
            group = sorted(group[: max(1, self._max_prefill_tokens // width)])
            chunks = [self._read_pending(row, width) for row in group]
            self._model.base_model(**self._prepare(group, chunks), use_cache=True)
            self._advance(group, chunks)
            self.counts["prefill_tokens"] += sum(map(len, chunks))

    def _read_pending(self, row: int, width: int) -> list[int]:
        slot = self._slots[row]
        return slot.tokens[slot.num_cached : min(slot.num_cached + width, len(slot.tokens) - 1)]

    def _decode(self, rows: range) -> Tensor:
        """Feed each row's last token.

        Returns:
            [rows, vocabulary], scores of the next token.
        """
        chunks = [self._slots[row].tokens[-1:] for row in rows]
        output = self._model(**self._prepare(rows, chunks), use_cache=True)
        self._advance(rows, chunks)
        logits: Tensor = output.logits[:, -1]
        return logits

    def _prepare(self, rows: Sequence[int], chunks: list[list[int]]) -> dict[str, object]:
        """Pad new tokens on the right to one batch and open the cache for it."""
        width = max(map(len, chunks))
        is_real = torch.tensor([[i < len(chunk) for i in range(width)] for chunk in chunks])
        padded = torch.tensor([chunk + [0] * (width - len(chunk)) for chunk in chunks])
        starts = torch.tensor([self._slots[row].num_cached for row in rows])
        ends = starts + torch.tensor([len(chunk) for chunk in chunks])
        positions = torch.minimum(starts[:, None] + torch.arange(width), ends[:, None] - 1)
        mask = self._cache.begin(rows, positions=positions, is_real=is_real)
        device = mask.device
        return {
            "input_ids": padded.to(device),
            "position_ids": positions.to(device),
            "attention_mask": mask,
            "past_key_values": self._cache,
        }

    def _advance(self, rows: Sequence[int], chunks: list[list[int]]) -> None:
        self.counts["forward_passes"] += 1
        for row, chunk in zip(rows, chunks, strict=True):
            self._slots[row].num_cached += len(chunk)


def _describe_choice(job: Job) -> Choice:
    return Choice(
        sampling=job.request.sampling,
        position=len(job.request.token_ids) + len(job.generated),
        forbidden=list_forbidden(job.request, job.generated),
    )


def _count_common(tokens: list[int], context: list[int]) -> int:
    return _Slot(tokens=tokens, num_cached=len(tokens)).count_shared(context)
