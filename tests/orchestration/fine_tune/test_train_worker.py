"""What a worker decides without Ray: how it shards on fewer workers than were asked for."""

import pytest

from s1ray.orchestration.fine_tune.train_worker import fit_sharding
from tests.training.plain_loop import make_sharding


@pytest.mark.parametrize(
    ("num_workers", "sequence_parallel", "replicas"),
    [(16, 8, 2), (8, 8, 2), (12, 4, 2), (15, 1, 1), (1, 1, 1)],
)
def test_degrees_shrink_to_what_divides_the_workers_that_are_left(
    num_workers: int, sequence_parallel: int, replicas: int
) -> None:
    whole = make_sharding(num_workers=16, sequence_parallel=8, replicas=2)

    fitted = fit_sharding(whole, num_workers=num_workers)

    assert fitted.num_workers == num_workers
    assert (fitted.sequence_parallel, fitted.replicas) == (sequence_parallel, replicas)
    assert fitted.micro_batch_tokens == whole.micro_batch_tokens
