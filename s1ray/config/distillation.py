"""How a teacher is asked for traces, and which of its replies are trained on."""

from pydantic import PositiveInt

from s1ray.config.base import Section


class DistillationConfig(Section):
    """Beside the endpoint, which says where the teacher is and what it may cost."""

    system_prompt: str | None
    """Null asks with the question alone, as s1 does."""
    keep_incorrect: bool
    """Whether a trace stays whose answer is wrong; s1 keeps them."""
    keep_unscored: bool
    """Whether a trace stays whose answer could not be graded."""
    keep_cut: bool
    """Whether a trace stays whose answer was cut at a limit. Thinking that was cut has no answer
    and never stays."""
    seed: int
    """Sent to endpoints that take one."""
    max_consecutive_failures: PositiveInt
    """Questions that may fail one after the other before the job gives up."""
