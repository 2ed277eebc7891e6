"""What the keys of a recipe ask of each other, said before any work starts."""

from collections.abc import Mapping
from pathlib import Path

from evaluators.data.data_yaml import find_data_yaml
from leaderboards.recipes.keys import EMBEDDED, LIMITS, NO_DATA
from leaderboards.recipes.recipe import Recipe
from leaderboards.recipes.strategy_keys import check_keys, mask_of_keys
from search.methods.by_name import METHODS
from search.strategies.by_name import STRATEGIES, StrategyRecord
from spaces.bases.names import SAME
from spaces.errors import BadInput

CONTROL_KEYS = ("granularity", "sparsity_percent")
CONTROLS = tuple(name for name, row in STRATEGIES.items() if row.is_control)


def check_demands(recipe: Recipe, /) -> None:
    """Make sure that the strategy of `recipe` can serve its other keys.

    Raises:
        BadInput: it cannot; in one line.
    """
    changed = {key for key, field in Recipe.model_fields.items() if getattr(recipe, key) != field.default}
    check_keys(recipe.strategy, recipe.importance, changed)
    _check_labels(recipe)
    record = STRATEGIES.get(recipe.strategy)
    if record is not None and recipe.bits and not record.searches_bits:
        raise BadInput(
            f"strategy={recipe.strategy} searches widths, not bits: leave out bits, or take informed or evolution"
        )
    if record is not None and record.is_control:
        _check_control(record, recipe)
    elif odd := next((key for key in CONTROL_KEYS if key in changed), None):
        raise BadInput(f"{odd} is a key of strategy={CONTROLS[0]}, got it with strategy={recipe.strategy}")


def _check_labels(recipe: Recipe) -> None:
    is_trained = recipe.finetune_epochs > 0 or recipe.strategy in METHODS
    if recipe.data not in (EMBEDDED, NO_DATA) and find_data_yaml(Path(recipe.data)) is None:
        if is_trained and recipe.labels:
            raise BadInput(
                f"data: {recipe.data!r:.120} is images without labels: set finetune_epochs=0, or labels=false to train "
                "towards the parent's outputs"
            )
        if recipe.rivals:
            raise BadInput(
                "rivals: without labels rows are judged by their agreement with the parent, which no rival is"
            )
    if not recipe.labels and recipe.distill == 0:
        raise BadInput("labels=false learns the parent's outputs alone, which distill=0 leaves out")
    if not recipe.labels and recipe.strategy in METHODS:
        raise BadInput(f"labels=false cannot serve strategy={recipe.strategy}, which trains on labels between its cuts")
    if recipe.images is not None and recipe.labels and is_trained:
        raise BadInput("images have no boxes to learn: set labels=false, or finetune_epochs=0 to calibrate alone")


def _check_control(record: StrategyRecord, recipe: Recipe) -> None:
    mask_of_keys(recipe.granularity, recipe.sparsity_percent)
    limits = [key for key in LIMITS if getattr(recipe, key) is not None]
    if limits:
        raise BadInput(
            f"strategy={record.name} cannot serve {limits[0]}: its zeros are stored and computed as any number is; "
            "leave the limits out"
        )
    if (recipe.candidates, recipe.front) != (1, 1):
        raise BadInput(f"strategy={record.name} makes one row: leave out candidates and front")
    if recipe.backbones != (SAME,) or recipe.depth or recipe.image_sizes or recipe.bits:
        raise BadInput(
            f"strategy={record.name} masks the user's own network: leave out backbones, depth, image_sizes and bits"
        )


def defaults_of_control(given: Mapping[str, object], /) -> dict[str, object]:
    """Return what keys of a control are where they are not given; nothing for any other strategy."""
    return {"candidates": 1, "front": 1} if given.get("strategy") in CONTROLS else {}
