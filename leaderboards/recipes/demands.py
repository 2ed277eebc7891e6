"""What the keys of a recipe ask of each other, said before any work starts."""

from leaderboards.recipes.recipe import LIMITS, Recipe
from leaderboards.recipes.strategy_keys import check_keys
from spaces.bases.base import SAME
from spaces.cutting.masks import Granularity, Mask
from spaces.errors import BadInput

UNSTRUCTURED = "unstructured"
USUAL_PERCENT = 30  # of the weights of each layer, in the guide
TWO_OF_FOUR, TWO_OF_FOUR_PERCENT = 24, 50


def check_demands(recipe: Recipe, /) -> None:
    """Make sure that the strategy of `recipe` can serve its other keys.

    Raises:
        BadInput: it cannot; in one line.
    """
    changed = {key for key, field in Recipe.model_fields.items() if getattr(recipe, key) != field.default}
    check_keys(recipe.strategy, recipe.importance, changed)
    if recipe.strategy == "tpe" and recipe.bits:
        raise BadInput("strategy=tpe searches widths, not bits: leave out bits, or take informed or evolution")
    if recipe.strategy == UNSTRUCTURED:
        _check_unstructured(recipe)
        return
    for key in ("granularity", "sparsity_percent"):
        if getattr(recipe, key) != Recipe.model_fields[key].default:
            raise BadInput(f"{key} is a key of strategy={UNSTRUCTURED}, got it with strategy={recipe.strategy}")


def mask_of_recipe(recipe: Recipe, /) -> Mask:
    """Return what strategy=unstructured sets to zero.

    Raises:
        BadInput: a share that 2:4 does not have.
    """
    percent = recipe.sparsity_percent
    if recipe.granularity is not Granularity.N_M:
        return Mask(recipe.granularity, USUAL_PERCENT if percent is None else percent)
    if percent not in (None, TWO_OF_FOUR_PERCENT):
        raise BadInput(f"sparsity_percent: 2:4 is {TWO_OF_FOUR_PERCENT} percent with granularity=n_m, got {percent}")
    return Mask(Granularity.N_M, TWO_OF_FOUR)


def _check_unstructured(recipe: Recipe) -> None:
    mask_of_recipe(recipe)
    limits = [key for key in LIMITS if getattr(recipe, key) is not None]
    if limits:
        raise BadInput(
            f"strategy={UNSTRUCTURED} cannot serve {limits[0]}: its zeros are stored and computed as any number is; "
            "leave the limits out"
        )
    if (recipe.candidates, recipe.front) != (1, 1):
        raise BadInput(f"strategy={UNSTRUCTURED} makes one row: leave out candidates and front")
    if recipe.backbones != (SAME,) or recipe.depth or recipe.image_sizes or recipe.bits:
        raise BadInput(
            f"strategy={UNSTRUCTURED} masks the user's own network: leave out backbones, depth, image_sizes and bits"
        )
