"""The probe: cut, compare with the masked parent, and keep whole whatever does not agree."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spaces.channels.graph import ChannelGraph
from spaces.cutting.subnet import Chosen, choose_channels, install, mask_tensors, skeleton_of, slice_tensors
from spaces.errors import BadInput
from spaces.importance.from_weights import l1
from spaces.networks.outputs import TENSORS

TOLERANCE = 1e-4  # of the largest output
PROBE_SIZE = 64


def probe(model: nn.Module, graph: ChannelGraph, /, *, rng: np.random.Generator) -> ChannelGraph:
    """Return `graph` without the blocks whose cutting changes what it must not change.

    All blocks are cut together, each to a random width, and compared with the masked parent; a set that fails is
    split in two until the culprits are alone. A sound network costs one comparison.
    """
    tester = _Tester(model, graph)
    refused: dict[str, str] = {}
    widths = np.array([int(rng.integers(1, block.size)) if block.size > 1 else 1 for block in graph.blocks])
    _search_culprits_(tester, widths, list(range(len(graph.blocks))), refused)
    sound = graph.without(refused)
    if refused:
        again = _Tester(model, sound)
        kept = np.array([width for width, block in zip(widths, graph.blocks, strict=True) if block.name not in refused])
        if (reason := again.fault(kept)) is not None:
            raise BadInput(f"the network cannot be cut: its blocks are sound alone but not together: {reason}")
    return sound


def cut_error(model: nn.Module, graph: ChannelGraph, keep: NDArray[np.int64], /) -> float:
    """Return the largest difference between the cut and the masked network, relative to the largest output.

    Raises:
        RuntimeError: the cut network does not run.
    """
    return _Tester(model, graph).error(keep)


class _Tester:
    """Runs cut and masked networks on one fixed image, in float64: deep networks blow float32's rounding up to 2e-4."""

    def __init__(self, model: nn.Module, graph: ChannelGraph) -> None:
        self._graph = graph
        tensors = model.state_dict()
        self._tensors = {name: each.double() if each.is_floating_point() else each for name, each in tensors.items()}
        self._scores = l1(self._tensors, graph)
        self._skeleton = skeleton_of(model).double()  # its buffers that are in no state dict
        generator = torch.Generator().manual_seed(0)
        side = max(PROBE_SIZE, int(max(getattr(model, "stride", [0]))))
        self._image = torch.rand(1, 3, side, side, generator=generator).double()

    def error(self, keep: NDArray[np.int64]) -> float:
        """Return the largest difference of an output, relative to the largest output of its tensor."""
        chosen: Chosen = choose_channels(self._graph, self._scores, keep)
        cut = self._run(slice_tensors(self._tensors, self._graph, chosen))
        masked = self._run(mask_tensors(self._tensors, self._graph, chosen))
        pairs = list(zip(cut, masked, strict=True))
        if any(a.shape != b.shape for a, b in pairs):
            raise RuntimeError("the cut network's outputs have other shapes")
        return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-12)) for a, b in pairs)

    def fault(self, keep: NDArray[np.int64]) -> str | None:
        """Return why the cut is wrong, None if it is right."""
        try:
            error = self.error(keep)
        except (RuntimeError, ValueError, IndexError) as problem:
            return f"the cut network fails: {str(problem).splitlines()[0]:.100}"
        return None if error <= TOLERANCE else f"cutting changes the output by {error:.1e}"

    @torch.no_grad()
    def _run(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the decoded predictions and, apart, the raw ones: a shift in one must not hide in the other."""
        decoded, raw = install(self._skeleton, tensors)(self._image)
        branches = raw.values() if "one2many" in raw else [raw]
        return [decoded, *(branch[name] for branch in branches for name in TENSORS if name in branch)]


def _search_culprits_(
    tester: _Tester, widths: NDArray[np.int64], suspects: Sequence[int], refused: dict[str, str]
) -> None:
    blocks = tester._graph.blocks
    sizes = np.array([block.size for block in blocks])
    reason = tester.fault(np.where(np.isin(np.arange(len(blocks)), suspects), widths, sizes))
    if reason is None:
        return
    if len(suspects) == 1:
        refused[blocks[suspects[0]].name] = reason
        return
    for half in (suspects[: len(suspects) // 2], suspects[len(suspects) // 2 :]):
        _search_culprits_(tester, widths, half, refused)
