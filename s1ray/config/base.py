"""What every part of the configuration shares: frozen, unknown keys refused, no defaults."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the configuration.

    Every value lives in ``conf/``, once; a schema class never gives a default, so that a missing
    key is an error that names its dotted path.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
