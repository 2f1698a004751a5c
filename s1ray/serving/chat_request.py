"""The body of a chat request: OpenAI's fields that are honoured, and the budget.

A field that would be ignored is refused, unless its value asks for nothing; ``user`` and
``metadata``, which no model is told, are taken and ignored. None stands for a field that is absent;
what is meant then is decided by the configuration (``request_budget``).
"""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from s1ray.serving.refusal import refuse_body


def _refuse_asking(value: JsonValue) -> JsonValue:
    """Take what asks for nothing: null, false, 0, and empty texts, lists and objects."""
    if value:
        raise PydanticCustomError("unsupported", "this server does not support it; remove it")
    return value


_Unsupported = Annotated[JsonValue, AfterValidator(_refuse_asking)]
"""A field that is refused unless its value asks for nothing."""


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


class TextPart(_Body):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class Message(_Body):
    """A turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: _Unsupported = None
    reasoning_content: str | None = None
    """Of an earlier answer; left out of the prompt, as thinking is."""

    @property
    def text(self) -> str:
        """All of it."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class BudgetBody(_Body):
    """The policy fields that a client may set, in ``extra_body={"budget": {...}}``."""

    max_thinking_tokens: int | None = None
    num_waits: int | None = None
    min_thinking_tokens: int | None = None
    wait_strings: Annotated[list[str], Field(min_length=1)] | None = None
    answer_prefix: str | None = None
    max_answer_tokens: int | None = None


class StreamOptions(_Body):
    """What a stream brings besides its deltas."""

    include_usage: bool | None = None


class TextFormat(_Body):
    """Plain text, the only form of an answer."""

    type: Literal["text"]


class ChatBody(_Body):
    """``POST /v1/chat/completions``."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    budget: BudgetBody | None = None
    max_completion_tokens: PositiveInt | None = None
    """Of thinking and answer together."""
    max_tokens: PositiveInt | None = None
    """The older name of ``max_completion_tokens``."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: NonNegativeInt | None = None
    seed: int | None = None
    n: PositiveInt | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: TextFormat | None = None
    stop: _Unsupported = None
    logit_bias: _Unsupported = None
    tools: _Unsupported = None
    tool_choice: Literal["none"] | None = None
    frequency_penalty: _Unsupported = None
    presence_penalty: _Unsupported = None
    logprobs: _Unsupported = None
    store: _Unsupported = None
    user: str | None = None
    metadata: dict[str, JsonValue] | None = None

    @property
    def total_field(self) -> str:
        """The field that says how long thinking and answer may be together; the newer of two."""
        return "max_tokens" if self.max_completion_tokens is None else "max_completion_tokens"

    @property
    def total_tokens(self) -> int | None:
        """What it says."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


def read_body(content: bytes) -> ChatBody:
    """Return a request's body.

    Raises:
        RefusalError: It is not JSON, or a field is unknown, missing or of the wrong type.
    """
    try:
        return ChatBody.model_validate_json(content)
    except ValidationError as error:
        raise refuse_body(error) from None
