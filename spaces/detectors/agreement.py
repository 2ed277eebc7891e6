"""The last look at a network that was rebuilt: it must compute what the layers in the file do.

What departures.py compares leaves out what says nothing of the outputs. Here that is written on the layers too, as it
stands in the file, and both are run: whatever was left out wrongly shows.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from ultralytics.nn.tasks import DetectionModel

from spaces.detectors.departures import StoredLayer, is_value
from spaces.detectors.description import CHANNELS, MISFITS
from spaces.errors import BadInput
from spaces.networks.outputs import TENSORS
from spaces.networks.twin import twin

TOLERANCE = 1e-5  # of the largest output of its kind
PROBE = 64  # pixels of an image, or the largest stride
_OF_THE_PLACE = ("training", "i", "f")


@torch.no_grad()
def check_agreement(model: DetectionModel, layers: Mapping[str, StoredLayer], /) -> None:
    """Make sure that `model` computes what the `layers` of a file do, as far as plain values say it.

    Raises:
        BadInput: it does not.
    """
    stored = twin(model)
    for name, layer in stored.named_modules(remove_duplicate=False):
        written = layers[name].attributes if name in layers else {}
        for key in vars(layer).keys() & written.keys() - set(_OF_THE_PLACE):
            value = written[key]
            if not key.startswith("_") and is_value(list(value) if isinstance(value, tuple) else value):
                vars(layer)[key] = value
    side = max(PROBE, int(model.stride.max()))
    image = torch.rand(1, CHANNELS, side, side, generator=torch.Generator().manual_seed(0))
    ours = _outputs(model, image)
    try:
        theirs = _outputs(stored, image)
    except MISFITS as error:
        raise BadInput(f"the layers in the file do not fit each other: {error!s:.100}") from error
    for one, other in zip(ours, theirs, strict=True):
        if one.shape != other.shape or (one - other).abs().max() > TOLERANCE * other.abs().max():
            raise BadInput("the layers in the file compute something else than what its yaml and its numbers say")


def _outputs(model: DetectionModel, image: Tensor) -> list[Tensor]:
    """Return the decoded and the raw outputs."""
    decoded, raw = model(image)
    branches = raw.values() if "one2many" in raw else [raw]
    return [decoded, *(branch[name] for branch in branches for name in TENSORS if name in branch)]
