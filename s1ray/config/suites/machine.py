"""The settings of the machine suite: how large the matrices are that are multiplied."""

from pydantic import PositiveInt

from s1ray.config.suites.job import SuiteSettings


class MachineSettings(SuiteSettings):
    """How the machine's own speed is found, beside which other figures can be read."""

    matrix_size: PositiveInt
    """Rows and columns of both square factors."""
    num_products: PositiveInt
    """Products per measurement."""
