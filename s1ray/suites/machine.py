"""How fast this machine multiplies matrices: what ``training.compute_dtype`` should be on it.

Knows nothing of models; a product of n x n matrices counts 2 n^3 floating point operations.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from s1ray.config.suites.machine import MachineSettings
from s1ray.config.tracking import PathsConfig
from s1ray.suites.measuring.pairs import Side, Spread, compare_pairs, measure_in_turn, time_call
from s1ray.suites.suite import Outcome, Part


def measure_products(settings: MachineSettings, _: PathsConfig) -> Outcome:
    """Compare bfloat16 with float32 products of square matrices.

    Raises:
        RuntimeError: The two differ by more than bfloat16's rounding of the factors explains.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (settings.matrix_size, settings.matrix_size)
    factors = {torch.float32: torch.randn(shape, generator=generator)}
    factors[torch.bfloat16] = factors[torch.float32].bfloat16()
    _check_agreement(factors)
    sides: dict[str, Side] = {
        str(dtype).removeprefix("torch."): _time_products(factor, settings.num_products)
        for dtype, factor in factors.items()
    }
    spreads = measure_in_turn(sides, num_pairs=settings.num_pairs)
    ratio = compare_pairs(spreads["float32"], spreads["bfloat16"])
    work = 2 * settings.matrix_size**3 * settings.num_products / 1e9
    rates = {
        name: Spread(values=tuple(work / seconds for seconds in spread.values))
        for name, spread in spreads.items()
    }
    return Outcome(
        summary=f"bfloat16 {rates['bfloat16'].median:.0f} GFLOP/s, float32 "
        f"{rates['float32'].median:.0f} GFLOP/s, ratio {ratio.median:.2f}",
        results={
            "num_threads": torch.get_num_threads(),
            "gflops_per_second": {name: rate.describe() for name, rate in rates.items()},
            "bfloat16_over_float32": ratio.describe(),
        },
    )


def _check_agreement(factors: Mapping[torch.dtype, Tensor]) -> None:
    exact = factors[torch.float32] @ factors[torch.float32]
    rounded = (factors[torch.bfloat16] @ factors[torch.bfloat16]).float()
    # bfloat16 keeps 8 bits: errors of 2^-8 in each factor and in the result, random in sign.
    error = ((exact - rounded).norm() / exact.norm()).item()
    if error > 2**-7:
        raise RuntimeError(f"bfloat16 products differ from float32 ones by {error:.2%}")


def _time_products(factor: Tensor, num_products: int) -> Side:
    def multiply() -> None:
        for _ in range(num_products):
            torch.matmul(factor, factor)

    multiply()
    return lambda: time_call(multiply)


SETTINGS = MachineSettings
PARTS: Mapping[str, Part] = {"products": measure_products}
