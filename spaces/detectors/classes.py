"""A detector that answers in another set's classes: what it knows of them, in their order.

Its last convolutions make one score for each class that it was trained on. Those of the classes that are asked for are
kept, in the order asked for; a class that it never saw gets a score that is never reached.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from ultralytics.nn.tasks import DetectionModel

from spaces.detectors.detector import Architecture, build_detector
from spaces.errors import BadInput

NEVER = -12.0  # the log-odds of a class that the detector does not know: 6e-6, below every threshold


def with_classes(
    model: DetectionModel, architecture: Architecture, names: Sequence[str], /
) -> tuple[DetectionModel, tuple[str, ...]]:
    """Return `model` with the classes `names`, matched by name whatever their case, and those that it does not know.

    Raises:
        BadInput: it knows none of them, or its head makes its scores in another way.
    """
    known = {name.casefold(): index for index, name in enumerate(architecture.names)}
    rows = [known.get(name.casefold(), -1) for name in names]
    if max(rows) < 0:
        ours, theirs = ", ".join(names[:3]), ", ".join(architecture.names[:3])
        raise BadInput(f"it knows none of the classes ({ours}, ...), its own are {theirs}, ...")
    if tuple(names) == architecture.names:
        return model, ()
    missing = tuple(name for name, row in zip(names, rows, strict=True) if row < 0)
    tensors = dict(model.state_dict())
    for name in _score_layers(model):
        tensors[f"{name}.weight"] = _rows(tensors[f"{name}.weight"], rows, missing=0.0)
        tensors[f"{name}.bias"] = _rows(tensors[f"{name}.bias"], rows, missing=NEVER)
    return build_detector(replace(architecture, names=tuple(names)), tensors), missing


def _score_layers(model: DetectionModel) -> list[str]:
    """Return the names of the convolutions that make one score for each class."""
    head = model.model[-1]
    branches = [name for name in ("cv3", "one2one_cv3") if isinstance(getattr(head, name, None), nn.ModuleList)]
    if not branches:
        raise BadInput("its head makes boxes and scores in one, so its classes must be the data's in the same order")
    prefix = f"model.{len(model.model) - 1}"
    return [
        f"{prefix}.{branch}.{level}.{len(layers) - 1}"
        for branch in branches
        for level, layers in enumerate(getattr(head, branch))
    ]


def _rows(tensor: Tensor, rows: Sequence[int], *, missing: float) -> Tensor:
    index = torch.tensor(rows)
    chosen = tensor.index_select(0, index.clamp_min(0))
    chosen[index < 0] = missing
    return chosen
