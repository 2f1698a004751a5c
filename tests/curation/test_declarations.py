"""What conf/ declares of s1's pool, held against s1's code."""

from s1ray.config.pool import PoolConfig
from tests.choices import read_choice


def test_s1s_pool_names_all_of_its_sources_in_the_order_of_its_code() -> None:
    pool = PoolConfig.model_validate(read_choice("pool", "s1_59k"))

    # simplescaling/s1 data/collect_data.py, DS_TO_SELECTION; data/add_aime.py adds AIME.
    families = ["math", "olympic_arena", "theoremqa", "numinamath", "omni_math", "sci_eval"]
    families += ["olympiad_bench", "jeebench", "agieval", "s1_prob", "gpqa", "xword", "usaco"]
    families += ["s1_teasers", "livecodebench", "aime"]
    found = [next(name for name in families if source.startswith(name)) for source in pool.sources]
    assert list(dict.fromkeys(found)) == families
    assert all(source.kind == "rows" and source.hub is not None for source in pool.sources.values())
