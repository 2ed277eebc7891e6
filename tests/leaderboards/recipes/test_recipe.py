from pathlib import Path

import pytest

from leaderboards.recipes.reading import read_pairs, read_recipe
from leaderboards.recipes.recipe import Recipe
from spaces.errors import BadInput

BOTH = ["weights=w.pt", "data=d/data.yaml"]


def test_without_words_it_is_the_embedded_default() -> None:
    recipe = read_recipe([])
    assert (recipe.weights, recipe.data, recipe.imgsz, recipe.gflops) == ("digits", "digits", 160, "50%")
    assert recipe.flip == 0  # a mirrored digit is no digit
    assert recipe.parts().place.folder == Path("runs/digits")


def test_an_own_limit_replaces_the_embedded_one() -> None:
    recipe = read_recipe(["size_mb=3"])
    assert (recipe.gflops, recipe.size_mb) == (None, "3")


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "recipe.yaml"
    config.write_text("candidates: 7\nfront: 2\ngflops: 60%\nweights: w.pt\ndata: d.yaml\n", encoding="utf-8")
    recipe = read_recipe([f"config={config}", "front=3"])
    assert (recipe.candidates, recipe.front, recipe.gflops) == (7, 3, "60%")


def test_a_resolved_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    import yaml

    recipe = read_recipe([*BOTH, "gflops=60%", "seed=3"])
    config = tmp_path / "recipe.yaml"
    config.write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    assert read_recipe([f"config={config}"]) == recipe


def test_where_a_run_happens_is_no_part_of_what_it_is() -> None:
    here, there = read_recipe([*BOTH, "workers=1"]), read_recipe([*BOTH, "workers=4", "device=0", "out=elsewhere"])
    assert here.parts().identity == there.parts().identity
    assert here.parts().identity != read_recipe([*BOTH, "seed=1"]).parts().identity


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("gflop=60%", "did you mean 'gflops'"),
        ("candidats=5", "did you mean 'candidates'"),
        ("gflops=-1", "number above 0"),
        ("gflops=5 apples", "number above 0"),
        ("gflops=nan", "number above 0"),
        ("gflops=inf%", "number above 0"),
        ("imgsz=100", "multiple of 32"),
        ("imgsz=0", "multiple of 32"),
        ("imgsz=8192", "multiple of 32"),
        ("imgsz=big", "integer"),
        ("candidates=0", "greater than or equal to 1"),
        ("seed=-1", "greater than or equal to 0"),
        ("keep_min=0", "greater than 0"),
        ("strategy=genius", "must be one of informed, evolution, tpe, random, uniform, unstructured"),
        ("backbones=resnet50", "ghostnet"),
        ("proxy=macs_g", "must be one of map50_95, loss, map_vanilla"),
        ("bits=[5,8]", "some of 2, 3, 4, 6, 8, 16, each once"),
        ("bits=4,4", "some of 2, 3, 4, 6, 8, 16, each once"),
        ("bits=[]", "at least one number of bits"),
        ("bits=few", "integer"),
        ("activation_bits=8", "needs bits="),
        ("activation_bits=[]", "at least one number of bits"),
        ("bops_g=", "key=value"),
        ("bops_g=0", "number above 0"),
        ("device=gpu", "pattern"),
        ("out=../elsewhere", "without '..'"),
        ("out=a/../../b", "without '..'"),
        ("out=with space", "must be a name"),
        ("out=" + "x" * 65, "must be a name"),
        ("gflops", "key=value"),
        ("gflops=", "key=value"),
    ],
)
def test_what_is_not_allowed_is_named_with_what_is(word: str, part: str) -> None:
    with pytest.raises(BadInput, match=part) as error:
        read_recipe([*BOTH, word])
    assert word.partition("=")[0] in str(error.value)


def test_bits_of_weights_bring_8_bits_of_inputs_with_them() -> None:
    assert read_recipe([*BOTH]).activation_bits == ()
    assert read_recipe([*BOTH, "bits=8,4"]).bits == (4, 8)
    assert read_recipe([*BOTH, "bits=[4]"]).activation_bits == (8,)
    assert read_recipe([*BOTH, "bits=4", "activation_bits=4,8"]).activation_bits == (4, 8)
    with pytest.raises(BadInput, match=r"^activation_bits: must be some of 3, 4, 6, 8, 16, each once"):
        read_recipe([*BOTH, "bits=4", "activation_bits=2"])


def test_a_recipe_with_bits_reads_back_as_itself(tmp_path: Path) -> None:
    import yaml

    config = tmp_path / "recipe.yaml"
    for words in (["bits=4,6"], []):
        recipe = read_recipe([*BOTH, *words])
        config.write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
        assert read_recipe([f"config={config}"]) == recipe


@pytest.mark.parametrize("proxy", ["block_loss", "reconstruction_loss", "kept_l1", "synflow", "zen"])
def test_a_proxy_that_sees_no_bits_cannot_rank_them(proxy: str) -> None:
    assert read_recipe([*BOTH, f"proxy={proxy}"]).proxy == proxy
    with pytest.raises(BadInput, match=r"^proxy: does not see bits"):
        read_recipe([*BOTH, f"proxy={proxy}", "bits=4"])


def test_a_key_that_is_given_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="twice"):
        read_pairs(["id=a", "id=b"], allowed=("id",))


@pytest.mark.parametrize("words", [["weights=w.pt"], ["data=d.yaml"]])
def test_own_weights_and_own_data_come_together(words: list[str]) -> None:
    with pytest.raises(BadInput, match="must be given too"):
        read_recipe(words)


@pytest.mark.parametrize("content", ["[1, 2]", "a: [", "!!python/object/apply:os.system ['true']", "candidats: 3"])
def test_a_config_that_is_no_recipe_is_refused(content: str, tmp_path: Path) -> None:
    config = tmp_path / "recipe.yaml"
    config.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match="config"):
        read_recipe([f"config={config}"])


def test_every_key_of_the_fixed_faces_exists() -> None:
    faces = (
        "weights data imgsz gflops macs_g params_m size_mb latency_ms keep_min align backbones bits strategy "
        "candidates front finetune_epochs calibration_images search_images seed workers ray_address device out"
    )
    assert set(faces.split()) <= set(Recipe.model_fields)
