"""Depth: repeats inside a C3, C2f, C3k2 or A2C2f that are left out, in a network that is a parent like any other.

A repeat turns its input into something of the same width, so without it the layer still works, and least squares makes
good what it can. The result is described by its own yaml, so it is saved, loaded and exported as every other network.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from ultralytics.nn.modules.block import C3, A2C2f, C2f
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel

from spaces.activations.patches import removed_after
from spaces.candidate import Candidate
from spaces.detectors.departures import KEY, renamed
from spaces.detectors.detector import Architecture, build_detector
from spaces.errors import BadInput
from spaces.recovery.reconstruction import Reference, observe, reconstruct_


@dataclass(frozen=True, order=True)
class Repeat:
    """One of the repeats of a layer, `model.<layer>.m.<index>` of the network."""

    layer: int
    index: int

    @property
    def name(self) -> str:
        """Its name in the state dict."""
        return f"model.{self.layer}.m.{self.index}"


def find_repeats(model: DetectionModel, /) -> tuple[Repeat, ...]:
    """Return the repeats that can be left out, in the order of the forward pass.

    Those of a layer whose parts have become unequally wide, as after pruning, cannot.
    """
    return tuple(
        Repeat(index, place)
        for index, layer in enumerate(model.model)
        if isinstance(layer, C3) or (isinstance(layer, C2f | A2C2f) and _part_width(layer) is not None)
        for place in range(len(layer.m))
    )


@torch.no_grad()
def order_repeats(model: DetectionModel, images: Tensor, /) -> tuple[Repeat, ...]:
    """Return the repeats of `model` by how much each changes its input, the least first.

    The change is |output - input|^2 over |output|^2 on `images` (N, 3, H, W), without labels: a repeat that changes
    nothing is not missed.
    """
    changes: dict[Repeat, float] = {}

    def watch(repeat: Repeat, inputs: tuple[Tensor], output: Tensor) -> None:
        moved, whole = (output - inputs[0]).square().sum(), output.square().sum()
        changes[repeat] = float(moved / whole.clamp_min(1e-30))

    repeats = find_repeats(model)
    with removed_after(
        model.get_submodule(repeat.name).register_forward_hook(
            lambda _, inputs, output, repeat=repeat: watch(repeat, inputs, output)
        )
        for repeat in repeats
    ):
        model(images)
    return tuple(sorted(repeats, key=lambda repeat: (changes[repeat], repeat)))


@torch.no_grad()
def kernel_gamma_order(model: DetectionModel, /) -> tuple[Repeat, ...]:
    """Return the repeats of `model` by Pruned-YOLO's score of their last convolution, the least first.

    It is the mean over channels of 10 x mean |W| x |gamma|.
    Source: Zhang 2022, Pruned-YOLO: layer pruning.
    """

    def score(repeat: Repeat) -> float:
        last = [layer for layer in model.get_submodule(repeat.name).modules() if isinstance(layer, Conv)][-1]
        return float((10 * last.conv.weight.abs().mean((1, 2, 3)) * last.bn.weight.abs()).mean())

    return tuple(sorted(find_repeats(model), key=lambda repeat: (score(repeat), repeat)))


def drop_repeats(model: DetectionModel, dropped: Sequence[Repeat], /) -> DetectionModel:
    """Return a network with copies of the tensors of `model` but without the `dropped` repeats.

    Raises:
        BadInput: one of them is not to be found, or twice.
    """
    known = find_repeats(model)
    if odd := next((repeat for repeat in dropped if repeat not in known or list(dropped).count(repeat) > 1), None):
        raise BadInput(f"depth: {odd.name} cannot be left out of this network, or not twice")
    architecture = Architecture.of(model, Candidate("same", ()))
    yaml = _without(model, dropped)
    if KEY in yaml:
        yaml[KEY] = renamed(architecture.yaml[KEY], lambda layer: _renamed(layer, dropped))  # type: ignore[arg-type]
    shallow = replace(architecture, yaml=yaml)
    names = surviving_names(model, dropped)
    tensors = {new: model.state_dict()[old].clone() for old, new in names.items()}
    for layer in {repeat.layer for repeat in dropped}:
        name = f"model.{layer}.cv2.conv.weight"
        if isinstance(model.model[layer], C2f | A2C2f):
            tensors[name] = tensors[name][:, _columns(model.model[layer], layer, dropped)]
    return build_detector(shallow, tensors)


def surviving_names(model: DetectionModel, dropped: Sequence[Repeat], /) -> dict[str, str]:
    """Return the name of each tensor of `model` that stays, with its name after `dropped` are gone."""
    names = {name: _renamed(name, dropped) for name in model.state_dict()}
    return {old: new for old, new in names.items() if new is not None}


def recover_dropped_(
    shallow: DetectionModel,
    parent: DetectionModel,
    dropped: Sequence[Repeat],
    *,
    images: Tensor,
    places: Mapping[str, Tensor],
) -> None:
    """Bring `shallow`, which is `parent` without `dropped`, as close to its parent's outputs as least squares can.

    Args:
        images: calibration images, float32 (N, 3, H, W) in [0, 1].
        places: by layer of the parent, as of `sample_places`.
    """
    renamed = {
        old.removesuffix(".weight"): new.removesuffix(".weight")
        for old, new in surviving_names(parent, dropped).items()
        if old.endswith(".weight")
    }
    kept = {name: index for name, index in places.items() if name in renamed}
    seen = observe(parent, images, kept)
    targets = {renamed[name]: target for name, target in seen.targets.items()}
    reference = Reference(images, targets, {renamed[name]: index for name, index in kept.items()})
    reconstruct_(shallow, {}, reference)


def _renamed(name: str, dropped: Sequence[Repeat]) -> str | None:
    """Return the name that a layer or tensor called `name` has after `dropped` are gone, None if it goes with them."""
    head, layer, *rest = name.split(".")
    gone = sorted(repeat.index for repeat in dropped if str(repeat.layer) == layer)
    if gone and rest[:1] == ["m"] and len(rest) > 1:
        index = int(rest[1])
        if index in gone:
            return None
        rest[1] = str(index - sum(place < index for place in gone))
    return ".".join((head, layer, *rest))


def _without(model: DetectionModel, dropped: Sequence[Repeat]) -> dict[str, object]:
    """Return the yaml of `model` with its repeats counted out, less those that are `dropped`."""
    yaml = copy.deepcopy(dict(model.yaml))
    depth = yaml.get("depth_multiple", 1.0)
    if "scales" in yaml:
        scale = yaml.get("scale") or next(iter(yaml["scales"]))
        depth, *rest = yaml["scales"][scale]
        yaml["scales"] = {scale: [1.0, *rest]}
    yaml["depth_multiple"] = 1.0
    for index, row in enumerate([*yaml["backbone"], *yaml["head"]]):
        n_repeats = max(round(row[1] * depth), 1) if row[1] > 1 else row[1]  # Ultralytics' rule
        row[1] = n_repeats - sum(repeat.layer == index for repeat in dropped)
    return yaml


def _part_width(layer: C2f | A2C2f) -> int | None:
    """Return how wide each part is that the last convolution reads; None if they are not equally wide."""
    n_parts = len(layer.m) + (2 if isinstance(layer, C2f) else 1)
    width = layer.cv1.conv.out_channels // (2 if isinstance(layer, C2f) else 1)
    return width if layer.cv2.conv.in_channels == n_parts * width else None


def _columns(layer: C2f | A2C2f, index: int, dropped: Sequence[Repeat]) -> Tensor:
    """Return which inputs of the last convolution are still there."""
    width = _part_width(layer)
    assert width is not None
    n_inputs = layer.cv2.conv.in_channels
    gone = torch.zeros(n_inputs, dtype=torch.bool)
    for place in (repeat.index for repeat in dropped if repeat.layer == index):
        start = n_inputs - (len(layer.m) - place) * width
        gone[start : start + width] = True
    return torch.nonzero(~gone).squeeze(1)
