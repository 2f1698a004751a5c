from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

QWEN = Path(__file__).parents[2] / "../shared/data/qwen2_5_tokenizer"


@pytest.fixture(scope="session")
def qwen_tokenizer() -> PreTrainedTokenizerBase:
    if not QWEN.exists():
        pytest.skip(f"the Qwen2.5 tokenizer is absent: no {QWEN}")
    return AutoTokenizer.from_pretrained(QWEN)
