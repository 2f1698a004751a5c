"""Randomness that depends on a sample and a position alone; torch-free.

It knows seeds; it does not know models or how a distribution is cut (``token_choice``).
"""

import hashlib


def derive_seed(*parts: str | int) -> int:
    """Return the seed of what the parts name, such as (run seed, question id, sample index)."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def position_noise(seed: int, position: int) -> float:
    """Return a number from [0, 1) for the token at an absolute position of a sample.

    Batch-mates, restarts and how a chain was cut into requests do not enter it.
    """
    digest = hashlib.blake2b(f"{seed} {position}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / (1 << 53)
