"""What curation may be told: which questions are dropped, and which of the rest are chosen."""

from typing import Annotated, Literal

from pydantic import Field

from s1ray.config.base import Section
from s1ray.config.generation import BudgetConfig, EndpointConfig, EngineConfig, SamplingConfig
from s1ray.config.grading import GradingConfig
from s1ray.config.model import ModelConfig

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
LengthKind = Literal[
    "thinking_tokens", "thinking_words", "solution_or_question_words", "judges_thinking_tokens"
]
"""``judges_thinking_tokens``: how long the models that judged difficulty thought, on average."""
QualityFilterName = Literal[
    "missing_trace", "asymptote", "image_reference", "part_reference", "bold_number"
]


class NearDuplicatesConfig(Section):
    """MinHash over runs of words."""

    min_similarity: Annotated[float, Field(gt=0, le=1)]
    """Jaccard similarity from which two questions count as one."""
    shingle_words: Count
    num_permutations: Count
    seed: int


class S1DecontaminationConfig(Section):
    """The authors' comparison: any shared run of words."""

    mode: Literal["s1"]
    ngram_size: Count
    against_earlier_sources: bool
    """Whether a question is also compared with the questions of the sources before its own."""


class OverlapDecontaminationConfig(Section):
    """The thresholded comparison that ignores boilerplate and catches short questions."""

    mode: Literal["overlap"]
    ngram_size: Count
    min_overlap: Fraction
    max_ngram_questions: Count
    """A run of words that more pool questions than this hold is boilerplate."""
    near_duplicates: NearDuplicatesConfig | None
    """Also drops near-duplicates, of protected questions and inside the pool; null: neither."""


DecontaminationConfig = Annotated[
    S1DecontaminationConfig | OverlapDecontaminationConfig, Field(discriminator="mode")
]


class InTurnScreeningConfig(Section):
    """One item after the other in this process: for small pools."""

    kind: Literal["in_turn"]


class RayScreeningConfig(Section):
    """Questions surveyed by Ray Data's workers: nothing of it changes a result."""

    kind: Literal["ray_data"]
    rows_per_batch: Count
    """Questions that travel together."""
    worker_cpus: Annotated[float, Field(gt=0)]
    """Of a process that surveys questions."""
    reader_cpus: Annotated[float, Field(gt=0)]
    """Of a task that reads a source; another number than a worker's, so that they run beside one
    another."""


ScreeningConfig = Annotated[InTurnScreeningConfig | RayScreeningConfig, Field(discriminator="kind")]


class QualityConfig(Section):
    """Which of s1's filters run."""

    filters: tuple[QualityFilterName, ...]
    asymptote_sources: tuple[str, ...]
    """Sources whose Asymptote figures stay."""
    max_part: Count
    """Largest i of the substring "p{i}." that the part filter looks for."""


class NoDifficultyConfig(Section):
    """Every question is hard enough."""

    kind: Literal["none"]


class RecipeJudgeConfig(Section):
    """The recipe's own model on the recipe's own engine."""

    kind: Literal["recipe"]


class EngineJudgeConfig(Section):
    """Another model, on the evaluation replicas as the recipe's own."""

    kind: Literal["engine"]
    model: ModelConfig
    engine: EngineConfig


class EndpointJudgeConfig(Section):
    """A model behind an endpoint."""

    kind: Literal["endpoint"]
    endpoint: EndpointConfig


JudgeConfig = Annotated[
    RecipeJudgeConfig | EngineJudgeConfig | EndpointJudgeConfig, Field(discriminator="kind")
]


class ModelsDifficultyConfig(Section):
    """A question that any of the models solves is too easy."""

    kind: Literal["models"]
    judges: Annotated[dict[str, JudgeConfig], Field(min_length=1)]
    """Who is asked, by a name for the funnel."""
    budget: BudgetConfig
    """Of judges, whatever an evaluation of the trained model asks for; so are the next three."""
    sampling: SamplingConfig
    grading: GradingConfig
    seed: int
    num_samples: Count
    """How often each is asked each question."""
    max_pass_rate: Annotated[float, Field(ge=0, lt=1)]
    """Share of a judge's scored answers that may be right before it counts as solved by it."""
    keep_unscored: bool
    """Whether a question stays that nobody solved and somebody's answers could not be scored."""


class LevelDifficultyConfig(Section):
    """A question below its source's level is too easy: a stand-in for models."""

    kind: Literal["level"]
    min_levels: dict[str, float]
    """Per source; the sources' scales differ."""
    keep_unlevelled: bool


DifficultyConfig = Annotated[
    NoDifficultyConfig | ModelsDifficultyConfig | LevelDifficultyConfig,
    Field(discriminator="kind"),
]


class SourceDiversityConfig(Section):
    """The source's own subject, or its name where it has none."""

    kind: Literal["source"]


class LabelsDiversityConfig(Section):
    """Labels from a JSONL file of {"id", "domain"}."""

    kind: Literal["labels"]
    path: str


class ClustersDiversityConfig(Section):
    """Groups of questions that use the same words: needs no model."""

    kind: Literal["clusters"]
    num_clusters: Count
    num_dimensions: Count
    min_questions: Count
    """Rarer words say nothing about a domain."""
    max_fraction: Fraction
    """Words in a larger share of the questions say nothing either."""
    min_letters: Count
    num_rounds: Count
    seed: int


class SubjectsDiversityConfig(Section):
    """A subject of a given list, as a model reads the question."""

    kind: Literal["subjects"]
    endpoint: EndpointConfig
    """Of the model that chooses."""
    budget: BudgetConfig
    """Of that model, whatever a teacher or an evaluation is asked with; so are the next two."""
    sampling: SamplingConfig
    seed: int
    prompt: str
    """With ``{subjects}`` and ``{question}``; the reply ends with the subject's code."""
    subjects: dict[str, str]
    """Code to name."""


DiversityConfig = Annotated[
    SourceDiversityConfig
    | LabelsDiversityConfig
    | ClustersDiversityConfig
    | SubjectsDiversityConfig,
    Field(discriminator="kind"),
]


class S1kSelectionConfig(Section):
    """s1's own selection."""

    kind: Literal["s1k"]
    num_questions: Count
    seed: int
    length: LengthKind
    after_difficulty: bool
    variant: Literal["code", "paper"]
    base_questions: Count
    """The size that ``uniform_fraction`` refers to; smaller selections are samples of it."""
    uniform_fraction: Fraction
    preselected_sources: tuple[str, ...]
    preselected_long_sources: dict[str, int]
    benchmark_shares: dict[str, float]


class PlainSelectionConfig(Section):
    """An ablation of the same size."""

    kind: Literal["random", "diverse", "longest"]
    num_questions: Count
    seed: int
    length: LengthKind
    after_difficulty: bool
    """Whether the difficulty step runs before it; in the paper's ablations it does not."""


class FullSelectionConfig(Section):
    """Everything that passed."""

    kind: Literal["full"]
    seed: int
    """Of the order."""
    length: LengthKind
    after_difficulty: bool


SelectionConfig = Annotated[
    S1kSelectionConfig | PlainSelectionConfig | FullSelectionConfig, Field(discriminator="kind")
]
