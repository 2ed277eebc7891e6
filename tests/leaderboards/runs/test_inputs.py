from pathlib import Path

import pytest

from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.inputs import load_inputs
from spaces.errors import BadInput
from tests.evaluators.tiny import YAML, write_dataset


@pytest.fixture
def named(recipe: Recipe, tmp_path: Path) -> Recipe:
    """Return a recipe whose data calls the classes of the weights, cat and dog, something else."""
    path = write_dataset(tmp_path / "data", yaml=YAML.replace("[cat, dog]", "[Cat, ' hund']"))
    return recipe.model_copy(update={"data": str(path)})


def test_other_names_are_refused_and_may_be_given_anew(named: Recipe) -> None:
    with pytest.raises(BadInput, match=r"class 1 is 'dog' in .* and ' hund' in data .*; if it is one class, names="):
        load_inputs(named.parts())
    inputs = load_inputs(named.model_copy(update={"names": ("cat", "dog")}).parts())
    assert inputs.dataset.names == ("cat", "dog")
    assert inputs.dataset.warnings == ()
    with pytest.raises(BadInput, match="names must be those of the 2 classes of the data, got 3"):
        load_inputs(named.model_copy(update={"names": ("cat", "dog", "owl")}).parts())


def test_names_that_differ_in_capitals_and_spaces_are_taken_for_the_same_and_told(named: Recipe) -> None:
    inputs = load_inputs(named.model_copy(update={"names": ("cat", " Dog")}).parts())
    (warning,) = inputs.dataset.warnings
    assert warning.startswith("class 1 is 'dog' in weights ")
    assert warning.endswith("and ' Dog' in data, which is taken for the same")


def test_another_number_of_classes_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "data", yaml=YAML.replace("[cat, dog]", "[cat, dog, owl]"))
    with pytest.raises(BadInput, match=r"weights .* know 2 classes, data .* has 3; names="):
        load_inputs(recipe.model_copy(update={"data": str(path)}).parts())
