"""How much a report shows, and how large its figures are."""

from pydantic import Field, PositiveFloat, PositiveInt

from s1ray.config.base import Section
from s1ray.config.compare import BootstrapConfig
from s1ray.config.evaluation import ComparatorsConfig


class ReportFigureConfig(Section):
    """A drawing of a figure for one width of screen."""

    width_inches: PositiveFloat
    panel_inches: PositiveFloat
    """Height of one panel."""
    columns: PositiveInt
    """Panels side by side."""
    max_ticks: int = Field(ge=3)
    """Labels on the axis of thinking tokens."""


class ReportConfig(Section):
    """The page that ``jobs.report`` builds from run directories."""

    first_samples: PositiveInt
    """Sample answers shown before anything is asked for."""
    more_samples: PositiveInt
    """Added at every request for more."""
    samples_per_piece: PositiveInt
    """Sample answers that are compressed and opened together."""
    max_items: PositiveInt
    """Questions of a benchmark whose answers the page holds, each at every budget."""
    max_characters: PositiveInt
    """Of one text on the page; of a longer one, beginning and end."""
    length_bins: PositiveInt
    """Bars of the histogram of lengths."""
    max_groups: PositiveInt
    """Domains and sources named one by one."""
    smoothing_steps: PositiveInt
    """Window of the training curve's running mean, in optimizer steps."""
    dots_per_inch: PositiveFloat
    """Of the figures' png files."""
    bootstrap: BootstrapConfig
    """Of paired differences; its confidence is also that of the figures' bands and bars."""
    wide: ReportFigureConfig
    """Also the shape of the png and pdf files."""
    narrow: ReportFigureConfig


class ReportJobConfig(Section):
    """What ``jobs.report`` builds."""

    runs: tuple[str, ...] = Field(min_length=1)
    """Run directories; the first is what the others are held against."""
    labels: tuple[str, ...] | None
    """How the runs are told apart, one each; None for their data sizes, or else their names."""
    output: str | None
    """The page's path; None for ``report.html`` in the first run's directory."""
    report: ReportConfig
    comparators: ComparatorsConfig
