"""The network of each round of a method: trained in the run folder, its layers scored, and ready to be cut."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel

from evaluators.data.dataset import Sample
from evaluators.worker import Studied
from leaderboards.recipes.recipe import Recipe
from leaderboards.recipes.strategy_keys import METHODS
from leaderboards.runs.methods.thinning import Report, StageRecipe, make_stage
from leaderboards.runs.placing import device_of, is_here
from leaderboards.runs.problem import Problem
from leaderboards.runs.rows import finetune_recipe
from leaderboards.runs.studies import study_base
from leaderboards.watcher import Watcher
from search.methods import pruned_yolo
from search.on_tune import run_trials
from spaces.bases.base import SAME, Base, BaseName
from spaces.bases.depth import Repeat, drop_repeats, find_repeats, kernel_gamma_order
from spaces.channels.graph import ChannelGraph
from spaces.channels.trace import trace_channels
from spaces.cutting.probe import probe
from spaces.detectors.detector import load_detector
from spaces.errors import BadInput
from spaces.importance.by_layer import LayerScores, added, filter_means, filter_norms, gammas, kernel_gammas, wanted
from spaces.space import Space


class Stage(NamedTuple):
    """The network of a round, and what each of its layers says of its channels."""

    studied: Studied
    scores: LayerScores


def train_stage(
    recipe: Recipe, problem: Problem, network: DetectionModel, /, *, name: BaseName, watcher: Watcher
) -> DetectionModel:
    """Return `network` after a training of the method, as the run folder keeps it under `name`.

    Raises:
        BadInput: it could not be trained; with its error.
    """
    folder, inputs = (recipe.folder / "bases").resolve(), problem.inputs
    if not (folder / str(name) / "architecture.json").exists():
        watcher.stage(f"training {name}")
        how = stage_recipe(recipe, n_classes=len(inputs.dataset.names))
        task = _Training(how, inputs.parent, network, inputs.dataset.train, folder, device_of(recipe))
        if error := _train_here(task, name, watcher) if is_here(recipe) else _train_there(recipe, task, name, watcher):
            raise BadInput(f"strategy={recipe.strategy}: {name} could not be trained: {error}")
    return load_detector(folder / str(name))[0]


@dataclass(frozen=True, eq=False)
class _Training:
    """What trains a network in a worker."""

    recipe: StageRecipe
    parent: DetectionModel
    network: DetectionModel
    samples: tuple[Sample, ...]
    folder: Path
    device: str

    def __call__(self, name: str, report: Report) -> None:
        torch.set_num_threads(1)
        make_stage(
            self.network,
            self.parent,
            self.samples,
            folder=self.folder / name,
            recipe=self.recipe,
            report=report,
            device=self.device,
        )


def _train_here(task: _Training, name: BaseName, watcher: Watcher) -> str:
    """Return the error of the training, empty if all went well."""
    try:
        task(str(name), partial(watcher.on_epoch, str(name)))
    except FloatingPointError as error:
        return str(error)
    return ""


def _train_there(recipe: Recipe, task: _Training, name: BaseName, watcher: Watcher) -> str:
    """Return the error of the training in a worker, empty if all went well."""
    errors = run_trials(
        task,
        [str(name)],
        workers=1,
        storage=recipe.folder.resolve(),
        on_report=watcher.on_epoch,
        gpus=recipe.gpus_a_worker,
    )
    return errors[str(name)]


def stage_recipe(recipe: Recipe, /, *, n_classes: int) -> StageRecipe:
    """Return how the method of `recipe` trains between its cuts: as rows are, but for its own epochs and sparsity."""
    method, rows = METHODS[recipe.strategy], finetune_recipe(recipe, n_classes=n_classes)
    return StageRecipe(
        **{**asdict(rows), "epochs": recipe.round_epochs or recipe.finetune_epochs or 1},
        sparsity=method.sparsity if recipe.sparsity is None else recipe.sparsity,
        is_eased=method.is_eased,
    )


def without_layers(network: DetectionModel, name: BaseName, /) -> tuple[DetectionModel, BaseName]:
    """Return `network` without the repeats that Pruned-YOLO leaves out: of layers that have several, the weakest."""
    several = [repeat.layer for repeat in find_repeats(network)]
    order = [repeat for repeat in kernel_gamma_order(network) if several.count(repeat.layer) > 1]
    dropped: list[Repeat] = []
    for repeat in order:  # a layer keeps one
        if len(dropped) == pruned_yolo.n_layers_to_drop(len(order)):
            break
        if [gone.layer for gone in dropped].count(repeat.layer) < several.count(repeat.layer) - 1:
            dropped.append(repeat)
    if not dropped:
        return network, name
    return drop_repeats(network, dropped), replace(name, dropped=len(dropped))


def study_stage(
    recipe: Recipe, problem: Problem, network: DetectionModel, /, *, name: BaseName, same: Studied
) -> Stage:
    """Return `network` as the base called `name`, ready to be cut.

    Args:
        same: the user's own network, whose calibration images serve every stage.
    """
    base = _base(recipe, problem, network, name)
    scores = score_layers(recipe.strategy, network, base.graph)
    joined = wanted(scores) if recipe.strategy == "slimming" else added(scores)
    study = study_base(recipe, base, same.calibration.tensor(), recipe.folder)
    return Stage(Studied(base, same.calibration, replace(study, scores=joined)), scores)


def _base(recipe: Recipe, problem: Problem, network: DetectionModel, name: BaseName) -> Base:
    """Return `network` as a base; its channels are traced anew if its shape is not the user's."""
    if not name.stage:
        return problem.bases[SAME]
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    graph = problem.graph
    if shapes != graph.shapes:
        graph = probe(network, trace_channels(network, imgsz=recipe.imgsz), rng=np.random.default_rng(0))
    bare = Space(problem.graph, align=recipe.align, keep_min=recipe.keep_min)
    overhead = problem.space.costs(problem.space.parent)["size_mb"] - bare.costs(bare.parent)["size_mb"]
    space = Space(
        graph, base=str(name), align=recipe.align, keep_min=recipe.keep_min, size_overhead=round(overhead * 1e6)
    )
    return Base(str(name), network, graph, space, recipe.imgsz)


def score_layers(strategy: str, network: DetectionModel, graph: ChannelGraph, /) -> LayerScores:
    """Return the scores that `strategy` reads.

    Raises:
        BadInput: the network lacks the BatchNorm that it needs.
    """
    match strategy:
        case "slimming":
            return gammas(network, graph)
        case "pruned_yolo":
            return kernel_gammas(network, graph, torch.zeros(1, 3, 64, 64))
        case "pagcp":
            return filter_means(network, graph)
        case _:
            return filter_norms(network, graph)
