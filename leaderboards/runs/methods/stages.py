"""The network of each round of a method: trained in the run folder, its layers scored, and ready to be cut."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import NamedTuple

import numpy as np
import torch
from ultralytics.nn.tasks import DetectionModel

from evaluators.data.dataset import Sample
from evaluators.worker import Studied
from leaderboards.recipes.parts import Making, Place, Rounds
from leaderboards.runs.methods.thinning import Report, StageRecipe, make_stage
from leaderboards.runs.problem import Inputs, Problem
from leaderboards.runs.studies import study_base
from leaderboards.tuning.finetune import FinetuneRecipe
from leaderboards.watcher import Watcher
from search.methods import pruned_yolo
from search.methods.by_name import MethodRecord
from search.on_tune import run_trials
from spaces.bases.base import Base
from spaces.bases.depth import Repeat, drop_repeats, find_repeats, kernel_gamma_order
from spaces.bases.names import SAME, BaseName
from spaces.channels.graph import ChannelGraph
from spaces.channels.trace import trace_channels
from spaces.cutting.probe import probe
from spaces.detectors.detector import load_detector
from spaces.errors import BadInput
from spaces.importance.by_layer import LayerScores
from spaces.importance.scores import Scores


class Stage(NamedTuple):
    """The network of a round, and what each of its layers says of its channels."""

    studied: Studied
    scores: LayerScores


def train_stage(
    network: DetectionModel,
    name: BaseName,
    inputs: Inputs,
    /,
    *,
    strategy: str,
    recipe: StageRecipe,
    place: Place,
    watcher: Watcher,
) -> DetectionModel:
    """Return `network` after a training of the method `strategy`, as the run folder keeps it under `name`.

    Raises:
        BadInput: it could not be trained; with its error.
    """
    folder = (place.folder / "bases").resolve()
    if not (folder / str(name) / "architecture.json").exists():
        watcher.stage(f"training {name}")
        task = _Training(recipe, inputs.parent, network, inputs.dataset.train, folder, place.measuring_device)
        if error := _train_here(task, name, watcher) if place.is_here else _train_there(task, name, place, watcher):
            raise BadInput(f"strategy={strategy}: {name} could not be trained: {error}")
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


def _train_there(task: _Training, name: BaseName, place: Place, watcher: Watcher) -> str:
    """Return the error of the training in a worker, empty if all went well."""
    errors = run_trials(
        task,
        [str(name)],
        workers=1,
        storage=place.folder.resolve(),
        on_report=watcher.on_epoch,
        gpus=place.gpus_a_worker,
    )
    return errors[str(name)]


def stage_recipe(rounds: Rounds, rows: FinetuneRecipe, /) -> StageRecipe:
    """Return how a method trains between its cuts: as `rows` are, but for its epochs, sparsity and live BatchNorm."""
    own = {**asdict(rows), "epochs": rounds.epochs, "freezes_bn": False}
    return StageRecipe(**own, sparsity=rounds.sparsity, is_eased=rounds.is_eased)


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
    network: DetectionModel,
    name: BaseName,
    problem: Problem,
    same: Studied,
    /,
    *,
    method: MethodRecord,
    making: Making,
    folder: Path,
) -> Stage:
    """Return `network` as the base called `name`, ready to be cut.

    Args:
        same: the user's own network, whose calibration images serve every stage.
    """
    base = _base(problem, network, name)
    scores = score_layers(method, network, base.graph)
    join: Callable[[LayerScores], Scores] = resolve_name(method.joined)
    study = study_base(making, base, same.calibration.tensor(), weights=problem.inputs.weights, folder=folder)
    return Stage(Studied(base, same.calibration, replace(study, scores=join(scores))), scores)


def _base(problem: Problem, network: DetectionModel, name: BaseName) -> Base:
    """Return `network` as a base; its channels are traced anew if its shape is not the user's."""
    same = problem.bases[SAME]
    if not name.stage:
        return same
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    graph = problem.graph
    if shapes != graph.shapes:
        graph = probe(network, trace_channels(network, imgsz=same.imgsz), rng=np.random.default_rng(0))
    return Base(str(name), network, graph, same.space.over(graph, base=str(name)), same.imgsz)


def score_layers(method: MethodRecord, network: DetectionModel, graph: ChannelGraph, /) -> LayerScores:
    """Return the scores that `method` reads.

    Raises:
        BadInput: the network lacks the BatchNorm that it needs.
    """
    score: Callable[[DetectionModel, ChannelGraph], LayerScores] = resolve_name(method.scores)
    return score(network, graph)
