"""A decoder's shape: its parameters, the FLOPs of training it, the bytes its backward pass needs.

It reads the keys of a Hugging Face config.json and knows neither torch nor hardware. FLOPs follow
``StepMetrics.flops``: matrix products of the parameters that multiply (no input embedding), causal
attention at half its square, backward twice forward, no recompute. Llm-foundry and others count
all parameters and the whole square, which reads up to a third higher at 32k tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from s1ray.config.training import ActivationCheckpointing

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
NORM_BYTES = 4
"""RMSNorm computes in float32 and keeps its input so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlopCount:
    """FLOPs over a document: some for each token, some for each pair of tokens."""

    per_token: float
    per_squared_token: float

    def of_document(self, num_tokens: int) -> float:
        """Return the FLOPs over one document of so many tokens."""
        return (self.per_token + self.per_squared_token * num_tokens) * num_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The sizes that decide what training a decoder costs."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    is_tied: bool
    """Whether the head is the embedding."""
    num_bias: int
    """Elements of all biases of a layer."""
    num_norm: int
    """Elements of all norms of a layer."""

    @property
    def query_size(self) -> int:
        """Outputs of the query projection."""
        return self.num_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Outputs of the key projection, and of the value projection."""
        return self.num_kv_heads * self.head_dim

    @property
    def products(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of a layer's matrices, in the order in which they multiply."""
        hidden, inner = self.hidden_size, self.intermediate_size
        return {
            "q_proj": (hidden, self.query_size),
            "k_proj": (hidden, self.kv_size),
            "v_proj": (hidden, self.kv_size),
            "o_proj": (self.query_size, hidden),
            "gate_proj": (hidden, inner),
            "up_proj": (hidden, inner),
            "down_proj": (inner, hidden),
        }

    @property
    def num_layer_matmul(self) -> int:
        """Parameters of one layer's matrices."""
        return sum(inputs * outputs for inputs, outputs in self.products.values())

    @property
    def num_layer_parameters(self) -> int:
        """All parameters of one layer."""
        return self.num_layer_matmul + self.num_bias + self.num_norm

    @property
    def num_head(self) -> int:
        """Parameters of the head, its own or the embedding's."""
        return self.vocab_size * self.hidden_size

    @property
    def num_root_parameters(self) -> int:
        """Parameters outside the layers: embedding, last norm, and the head where it is apart."""
        return self.num_head * (1 if self.is_tied else 2) + self.hidden_size

    @property
    def num_parameters(self) -> int:
        """All parameters."""
        return self.num_layers * self.num_layer_parameters + self.num_root_parameters

    @property
    def num_matmul_parameters(self) -> int:
        """Parameters that multiply: the layers' matrices and the head."""
        return self.num_layers * self.num_layer_matmul + self.num_head

    def count_adapters(self, *, rank: int, targets: tuple[str, ...]) -> int:
        """Return the parameters of low-rank adapters on some of the layers' matrices.

        Raises:
            ValueError: A target is not a matrix of this model.
        """
        unknown = sorted(set(targets) - set(self.products))
        if unknown:
            raise ValueError(
                f"training.lora.targets names {unknown}, which a decoder layer does not have. "
                f"Choose from {list(self.products)}."
            )
        return self.num_layers * sum(rank * sum(self.products[name]) for name in targets)

    def count_exchanged(self, *, degree: int) -> int:
        """Return the elements a token that sequence parallelism sends in each layer.

        Queries, keys, values and outputs; fewer key heads than ranks are copied, one for each.
        """
        return 2 * (self.num_heads + max(self.num_kv_heads, degree)) * self.head_dim

    def count_flops(self, *, num_adapters: int | None) -> FlopCount:
        """Return the FLOPs of forward and backward.

        Args:
            num_adapters: Trained adapter parameters beside frozen weights; None: all is trained.
        """
        per_token = 6.0 * self.num_matmul_parameters
        if num_adapters is not None:
            per_token = 4.0 * self.num_matmul_parameters + 6.0 * num_adapters
        attention = 3 * self._count_attention()
        return FlopCount(per_token=per_token, per_squared_token=attention)

    def count_recompute(self, *, mode: ActivationCheckpointing) -> FlopCount:
        """Return the FLOPs that activation checkpointing adds.

        ``selective`` keeps attention and every second of the products that widen, the first one
        included (``training.network.sharding``).
        """
        again, attention = 0, 0.0
        if mode is ActivationCheckpointing.FULL:
            again, attention = self.num_layer_matmul, self._count_attention()
        elif mode is ActivationCheckpointing.SELECTIVE:
            kept = sum(inputs * outputs for inputs, outputs in self._list_kept_products())
            # The layer's last product is never asked for again: only its input is.
            again = self.num_layer_matmul - kept - self.intermediate_size * self.hidden_size
        per_token = 2.0 * self.num_layers * again
        return FlopCount(per_token=per_token, per_squared_token=attention)

    def count_layer_bytes(self, *, mode: ActivationCheckpointing, compute_bytes: int) -> int:
        """Return the bytes a token that a layer keeps for the backward pass.

        As transformers computes a layer without fused kernels: each norm keeps its input in
        float32, its normalised input and its output; attention its queries, keys, values, output
        and logsumexp; the gated unit its gate, its activation, the other half and their product.
        Fused kernels and torch.compile keep less.
        """
        hidden, inner = self.hidden_size, self.intermediate_size
        attention = compute_bytes * self.query_size + 4 * self.num_heads
        match mode:
            case ActivationCheckpointing.FULL:
                return compute_bytes * hidden
            case ActivationCheckpointing.SELECTIVE:
                kept = sum(outputs for _, outputs in self._list_kept_products())
                return compute_bytes * (hidden + kept) + attention
            case ActivationCheckpointing.NONE:
                norms = 2 * ((NORM_BYTES + 2 * compute_bytes) * hidden + NORM_BYTES)
                projected = compute_bytes * (self.query_size + 2 * self.kv_size)
                return norms + projected + attention + 4 * compute_bytes * inner

    def count_working_bytes(self, *, compute_bytes: int) -> int:
        """Return the bytes a token while one layer's backward pass runs.

        All that the layer keeps, recomputed or not, and the gradients of its widest part.
        """
        kept = self.count_layer_bytes(
            mode=ActivationCheckpointing.NONE, compute_bytes=compute_bytes
        )
        return kept + 3 * compute_bytes * self.intermediate_size

    def _list_kept_products(self) -> list[tuple[int, int]]:
        """Return inputs and outputs of the products whose results selective checkpointing keeps."""
        return [size for size in self.products.values() if size[0] <= size[1]][::2]

    def _count_attention(self) -> float:
        """Return the forward FLOPs of attention a squared token: half of two products a layer."""
        return 2.0 * self.num_layers * self.query_size


def read_shape(config: Mapping[str, object]) -> ModelShape:
    """Return the shape that a Hugging Face config.json describes.

    Args:
        config: Its keys and values.

    Raises:
        ValueError: A size is missing, or the family is not a known decoder.
    """
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ValueError(
            f"model_type={family!r} cannot be planned; known are {list(FAMILIES)}. Plan with a "
            "model of the same size from one of these families."
        )
    hidden, heads = _read_size(config, "hidden_size"), _read_size(config, "num_attention_heads")
    head_dim = hidden // heads if config.get("head_dim") is None else _read_size(config, "head_dim")
    has_kv_heads = config.get("num_key_value_heads") is not None
    kv_heads = _read_size(config, "num_key_value_heads") if has_kv_heads else heads
    inner = _read_size(config, "intermediate_size")
    query, key_value = heads * head_dim, kv_heads * head_dim
    has_bias, bias = bool(config.get("attention_bias")), 0
    if family == "qwen2" or has_bias:
        bias = query + 2 * key_value
    if has_bias and family != "qwen2":
        bias += hidden
    if config.get("mlp_bias"):
        bias += 2 * inner + hidden
    return ModelShape(
        hidden_size=hidden,
        intermediate_size=inner,
        num_layers=_read_size(config, "num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=_read_size(config, "vocab_size"),
        is_tied=bool(config.get("tie_word_embeddings")),
        num_bias=bias,
        num_norm=2 * hidden + (2 * head_dim if family == "qwen3" else 0),
    )


def _read_size(config: Mapping[str, object], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(
            f"the model's config.json has {key}={value!r}, which must be a positive integer. Point "
            "model.source at a complete model directory."
        )
    return value
