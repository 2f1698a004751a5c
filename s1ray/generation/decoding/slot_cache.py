"""Keys and values of many contexts, one row each, as a cache that transformers models accept.

It knows tensors and positions. It does not know tokens, requests or which row belongs to whom
(``batch_decoder``); a row's keys lie at their absolute positions, nothing is padded on the left.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

LENGTH_STEP = 64
"""Lengths are rounded up to this, so that kernels meet few shapes and growth is rare."""


class SlotCache:
    """Rows of keys and values, written where a pass says and read up to its longest row.

    Models call ``update`` once per layer; ``begin`` comes before each pass.
    """

    def __init__(
        self,
        *,
        num_layers: int,
        num_slots: int,
        num_heads: int,
        head_size: int,
        context_tokens: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._context_tokens = context_tokens
        self._dtype = dtype
        # Row num_slots takes what padding writes. Zeros, for a masked NaN would still spoil sums.
        shape = (2 * num_layers, num_slots + 1, num_heads, 0, head_size)
        self._store = torch.zeros(shape, dtype=dtype, device=device)
        self._rows: slice | Tensor = slice(0, 0)
        self._length = 0
        self._targets = torch.zeros(0, dtype=torch.long, device=device)

    def begin(self, rows: Sequence[int], *, positions: Tensor, is_real: Tensor) -> Tensor:
        """Say where the next pass writes, and return its attention mask.

        Args:
            rows: The rows that the pass continues, in the order of its batch; read without a copy
                where they follow one another.
            positions: [rows, tokens], absolute position of each new token.
            is_real: [rows, tokens], False for padding, which is written nowhere.

        Returns:
            Additive mask [rows, 1, tokens, length]: a token sees its row up to itself.
        """
        device = self._store.device
        longest = int(positions.max().item()) + 1
        self._length = -(-longest // LENGTH_STEP) * LENGTH_STEP
        self._grow(self._length)
        batch = torch.tensor(rows)
        is_slice = list(rows) == list(range(rows[0], rows[0] + len(rows)))
        self._rows = slice(rows[0], rows[0] + len(rows)) if is_slice else batch.to(device)
        num_heads, capacity = self._store.shape[2:4]
        written = torch.where(is_real, batch[:, None], self._store.shape[1] - 1)
        heads = torch.arange(num_heads)[:, None]
        targets = (written[:, None, :] * num_heads + heads) * capacity + positions[:, None, :]
        self._targets = targets.reshape(-1).to(device)
        is_seen = torch.arange(self._length) <= positions[:, None, :, None]
        mask = torch.zeros(is_seen.shape).masked_fill_(~is_seen, float("-inf"))
        return mask.to(device=device, dtype=self._dtype)

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Write a layer's new keys and values; return all that the pass attends to.

        Args:
            key_states: [rows, heads, tokens, head size].
            value_states: As ``key_states``.
            layer_idx: The layer.

        Returns:
            Keys and values, each [rows, heads, length, head size].
        """
        keys, values = self._store[2 * layer_idx], self._store[2 * layer_idx + 1]
        head_size = self._store.shape[-1]
        keys.view(-1, head_size).index_copy_(0, self._targets, key_states.reshape(-1, head_size))
        values.view(-1, head_size).index_copy_(
            0, self._targets, value_states.reshape(-1, head_size)
        )
        return keys[self._rows, :, : self._length], values[self._rows, :, : self._length]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the longest row of the pass."""
        return self._length

    def copy_prefix(self, source: int, target: int, *, num_tokens: int) -> None:
        """Copy the first tokens of a row into another row."""
        self._store[:, target, :, :num_tokens] = self._store[:, source, :, :num_tokens]

    def swap_rows(self, first: int, second: int, *, num_tokens: int) -> None:
        """Exchange the first tokens of two rows."""
        kept = self._store[:, first, :, :num_tokens].clone()
        self.copy_prefix(second, first, num_tokens=num_tokens)
        self._store[:, second, :, :num_tokens] = kept

    def _grow(self, length: int) -> None:
        capacity = self._store.shape[3]
        if length <= capacity:
            return
        limit = -(-self._context_tokens // LENGTH_STEP) * LENGTH_STEP
        larger = min(max(length, 2 * capacity), limit)
        added = self._store.new_zeros(
            (*self._store.shape[:3], larger - capacity, self._store.shape[4])
        )
        self._store = torch.cat((self._store, added), dim=3)
