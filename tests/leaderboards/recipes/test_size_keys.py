import pytest

from evaluators.metric import LOSS, MAP
from leaderboards.recipes.reading import read_recipe


@pytest.mark.parametrize("word", ["gflops=60%", "macs_g=0.1", "latency_ms=2", "bops_g=50%"])
def test_a_limit_on_work_is_searched_over_smaller_images_and_ranked_by_map(word: str) -> None:
    recipe = read_recipe([word])
    assert recipe.parts().bases.is_sized
    assert recipe.proxy == MAP.name


@pytest.mark.parametrize(
    "words",
    [
        ["params_m=60%"],
        ["size_mb=60%"],
        ["gflops=60%", "image_sizes=none"],
        ["gflops=60%", "strategy=evolution"],
        ["gflops=60%", "depth=1"],
        ["gflops=60%", "backbones=same,ghostnet"],
        ["gflops=60%", "strategy=slimming"],
    ],
)
def test_otherwise_the_size_stays(words: list[str]) -> None:
    bases = read_recipe(words).parts().bases
    assert not bases.is_sized
    assert bases.image_sizes == ()


def test_given_sizes_are_those_that_are_searched() -> None:
    recipe = read_recipe(["gflops=60%", "image_sizes=128,96"])
    assert (recipe.parts().bases.image_sizes, recipe.parts().bases.is_sized, recipe.proxy) == (
        (128, 96),
        False,
        MAP.name,
    )
    assert read_recipe(["gflops=60%", "image_sizes=none"]).proxy == LOSS.name
