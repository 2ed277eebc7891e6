import pytest

from leaderboards.benchmarks.by_name import BENCHMARKS, keys_of, meaning_of
from leaderboards.recipes.reading import OLDER_NAMES, read_recipe
from leaderboards.recipes.recipe import Recipe
from leaderboards.verbs.by_name import VERBS
from leaderboards.verbs.help import ALLOWED, COMPUTED, GROUPS, allowed, default_of, explain_recipe, keys_page, meaning
from search.methods.by_name import METHODS
from search.strategies.by_name import STRATEGIES
from tests.docs import ROOT

KEYS = [key for keys in GROUPS.values() for key in keys]


def test_every_key_stands_in_one_group_with_its_meaning_default_and_what_it_may_be() -> None:
    assert sorted(KEYS) == sorted([*Recipe.model_fields, "config"])
    assert set(ALLOWED) | set(COMPUTED) <= set(KEYS)
    for key in KEYS:
        assert len(meaning(key)) > 10
        assert default_of(key)
        assert allowed(key)
        assert f"  {key}={default_of(key)}" in explain_recipe([])


def test_defaults_that_are_computed_are_those_without_a_value_of_their_own() -> None:
    for key, field in Recipe.model_fields.items():
        assert (field.default_factory is not None or key in ("lr", "out")) <= (key in COMPUTED), key


def test_the_page_of_keys_is_what_the_recipe_says() -> None:
    assert (ROOT / "docs" / "keys.md").read_text(encoding="utf-8") == keys_page(), (
        "python -m leaderboards.verbs.keys_page writes it"
    )


def test_what_the_help_says_a_strategy_may_be_can_be_asked_for() -> None:
    for name in (*STRATEGIES, *METHODS):
        assert name in allowed("strategy").split(", ")
        assert read_recipe([f"strategy={name}"]).strategy == name


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_says_what_it_measures_and_takes(name: str) -> None:
    assert meaning_of(name).endswith(".") or "\n" in meaning_of(name)
    assert all(key.default is not None for key in keys_of(name))
    assert f"{name}" in VERBS["bench"].explain([])
    assert "Keys and defaults: " in VERBS["bench"].explain([name])


def test_an_older_name_of_a_key_is_still_read() -> None:
    for old, new in OLDER_NAMES.items():
        assert getattr(read_recipe([f"{old}=12"]), new) == 12
