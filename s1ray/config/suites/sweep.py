"""The settings of the sweep suite: which sweeps are run to see what they cost and save."""

from pydantic import PositiveInt

from s1ray.config.suites.job import SuiteSettings


class SweepSettings(SuiteSettings):
    """Sweeps as on the command line of ``jobs.sweep``, small enough to be repeated."""

    overhead: tuple[str, ...]
    """Its trials are done once before the clock starts: what is timed is Tune and nothing else."""
    trial_seconds: PositiveInt
    """Length of the trials that the overhead is held against."""
    halving: tuple[str, ...]
    """The space in which early stopping must find the winner of the full grid."""
    asha: tuple[str, ...]
    """How it stops there."""
    shared: tuple[str, ...]
    """Data sizes x budgets, whose tokens are counted."""
