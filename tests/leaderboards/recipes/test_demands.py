from pathlib import Path

import pytest

from leaderboards.recipes.reading import read_recipe
from spaces.cutting.mask import Granularity, Mask, mask_of
from spaces.errors import BadInput


def test_images_without_labels_are_neither_learned_nor_compared_with_rivals(tmp_path: Path) -> None:
    bare = [f"data={tmp_path}", "weights=a.pt"]
    for more in ([], ["strategy=slimming", "finetune_epochs=0"]):
        with pytest.raises(BadInput, match=r"is images without labels: set finetune_epochs=0, or labels=false"):
            read_recipe([*bare, *more])
    with pytest.raises(BadInput, match="rivals: without labels"):
        read_recipe([*bare, "finetune_epochs=0", "rivals=b.pt"])
    assert read_recipe([*bare, "finetune_epochs=0"]).data == str(tmp_path)
    assert not read_recipe([*bare, "labels=false"]).labels


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("strategy=unstructured gflops=60%", "cannot serve gflops"),
        ("strategy=unstructured macs_g=0.1", "cannot serve macs_g"),
        ("strategy=unstructured params_m=1", "cannot serve params_m"),
        ("strategy=unstructured latency_ms=80%", "cannot serve latency_ms"),
        ("strategy=unstructured size_mb=3", "cannot serve size_mb"),
        ("strategy=unstructured candidates=2", "makes one row"),
        ("strategy=unstructured front=2", "makes one row"),
        ("strategy=unstructured depth=1", "leave out backbones, depth"),
        ("strategy=unstructured granularity=n_m sparsity_percent=30", "2:4 is 50 percent"),
        ("granularity=kernel", "granularity is a key of strategy=unstructured, got it with strategy=informed"),
        ("labels=false distill=0", "which distill=0 leaves out"),
        ("labels=false strategy=slimming", "labels=false cannot serve strategy=slimming"),
        ("images=here", "images have no boxes to learn"),
        ("strategy=random sparsity_percent=30", "sparsity_percent is a key of strategy=unstructured"),
    ],
)
def test_what_a_strategy_cannot_serve_is_refused_in_one_line_before_anything_is_loaded(words: str, part: str) -> None:
    with pytest.raises(BadInput, match=part) as error:
        read_recipe(words.split())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "mask"),
    [
        ("", Mask(Granularity.WEIGHT, 30)),
        ("sparsity_percent=50 granularity=filter", Mask(Granularity.FILTER, 50)),
        ("granularity=n_m", Mask(Granularity.N_M, 24)),
        ("granularity=n_m sparsity_percent=50", Mask(Granularity.N_M, 24)),
    ],
)
def test_the_control_has_one_candidate_no_limit_and_the_guides_mask(words: str, mask: Mask) -> None:
    recipe = read_recipe(["strategy=unstructured", *words.split()])
    assert (recipe.candidates, recipe.front, recipe.gflops) == (1, 1, None)
    (control,) = recipe.parts().ranking.fixed
    assert mask_of(control) == mask


def test_the_embedded_run_of_every_other_strategy_keeps_its_limit() -> None:
    for strategy in ("informed", "evolution", "tpe", "random", "uniform"):
        recipe = read_recipe([f"strategy={strategy}"])
        assert (recipe.gflops, recipe.candidates) == ("50%", 72)


@pytest.mark.parametrize("value", ["0", "100", "x"])
def test_shares_that_are_none_are_refused(value: str) -> None:
    with pytest.raises(BadInput, match="sparsity_percent"):
        read_recipe(["strategy=unstructured", f"sparsity_percent={value}"])
