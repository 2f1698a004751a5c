"""Print where SmolLM2-135M-Instruct lies, fetching it first (``python -m`` this module)."""

import sys

from s1ray.model_source.resolve import default_cache_directory, resolve_model
from tests.fakes import read_model_config

if __name__ == "__main__":
    config = read_model_config("smollm2_135m")
    directory = resolve_model(
        config.source,
        revision=config.revision,
        sha256=config.sha256,
        random=config.random,
        cache=default_cache_directory(),
        on_progress=lambda text: print(text, file=sys.stderr),  # noqa: T201
    )
    print(directory)  # noqa: T201
