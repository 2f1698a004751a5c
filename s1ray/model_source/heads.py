"""Which degrees of sequence parallelism a model's heads allow; it knows numbers, no model."""


def list_legal_degrees(*, num_heads: int, num_key_value_heads: int) -> list[int]:
    """Return the degrees that give every rank whole query heads and the keys they need.

    A degree divides the query heads, and divides or is a multiple of the key-value heads.
    """
    return [
        degree
        for degree in range(1, num_heads + 1)
        if num_heads % degree == 0
        and (num_key_value_heads % degree == 0 or degree % num_key_value_heads == 0)
    ]


def check_degree(degree: int, *, num_heads: int, num_key_value_heads: int) -> None:
    """Refuse a degree that the model's heads do not allow.

    Raises:
        ValueError: With the legal degrees.
    """
    legal = list_legal_degrees(num_heads=num_heads, num_key_value_heads=num_key_value_heads)
    if degree not in legal:
        raise ValueError(
            f"sharding.sequence_parallel={degree} does not fit a model with {num_heads} query and "
            f"{num_key_value_heads} key-value heads. Set it to one of {legal}."
        )
