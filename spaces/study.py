"""What is found out about a parent once, before any candidate is built: which channels matter, and where to look."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor, nn

from spaces.activations.covariance import count_places, covariances, move_places, sample_places
from spaces.activations.fisher import fisher_information
from spaces.bits.layer_bits import BitTable
from spaces.bits.sensitivity import fisher
from spaces.bits.simulation import Simulator
from spaces.channels.graph import ChannelGraph
from spaces.files import write_atomic
from spaces.importance.by_name import Importance
from spaces.importance.elimination import eliminate
from spaces.importance.scores import Scores
from spaces.importance.scoring import score_channels
from spaces.networks.threads import one_thread

Floats = NDArray[np.float32]

BIT_LOSSES = "bit_losses"


@dataclass(frozen=True, eq=False)
class Study:
    """Plain arrays, so that Ray's object store holds them once for all workers of a node.

    Attributes:
        scores: of the channels of each block, by the importance that was asked for.
        losses: by block, (size + 1,) what reconstruction loses when so many of the lowest-scored channels are gone.
        places: by layer, where it is reconstructed; see `sample_places`.
        sensitivity: by layer, the Fisher information of each channel that it makes (C,).
        bit_losses: (n_layers, n_options) what each option of a table of bits loses; None where there is no table.
    """

    scores: Scores
    losses: tuple[NDArray[np.float64], ...]
    places: Mapping[str, NDArray[np.int64]]
    sensitivity: Mapping[str, Floats]
    bit_losses: NDArray[np.float64] | None = None


def study_parent(
    parent: nn.Module,
    graph: ChannelGraph,
    images: Tensor,
    /,
    *,
    importance: Importance,
    seed: int,
    table: BitTable | None = None,
) -> Study:
    """Return what `images` (N, 3, H, W), without labels, tell about `parent`, a detector in eval mode.

    Args:
        table: the bits that its layers may have.

    Raises:
        BadInput: the parent lacks what `importance` is made of; with a table, too few images, or a layer that reads
            nothing but 0.
        FloatingPointError: a prediction, a gradient or an activation of the parent is not finite.
    """
    with one_thread():
        information = fisher_information(parent, images, seed=seed)
        places = sample_places(information.places, seed=seed)
        scores = None
        if importance is not Importance.GREEDY:
            scores = score_channels(parent, graph, images, importance=importance, seed=seed)
        order = eliminate(parent, graph, covariances(parent, images, places), information.channels, scores=scores)
        bit_losses = None if table is None else fisher(Simulator(parent, images), table, images, seed=seed)
    return Study(
        scores or tuple(block.scores for block in order),
        tuple(block.losses for block in order),
        {name: index.numpy() for name, index in places.items()},
        {name: channels.numpy() for name, channels in information.channels.items()},
        bit_losses,
    )


def resize_study(study: Study, parent: nn.Module, /, *, before: int, after: int) -> Study:
    """Return what `study`, of square images of `before` pixels, tells about `parent` at `after` pixels.

    Which channels matter hardly depends on the size, so scores and losses stay, and places move with the image;
    docs/results.md has what a study of the size's own is worth.
    """
    was, now = (count_places(parent, study.places, imgsz=imgsz) for imgsz in (before, after))
    moved = {name: move_places(at, before=was[name], after=now[name]) for name, at in study.places.items()}
    return replace(study, places=moved)


def save_study(study: Study, path: Path) -> None:
    """Write `study` to `path` in one step."""
    arrays: dict[str, NDArray[np.generic]] = {f"scores/{index}": score for index, score in enumerate(study.scores)}
    arrays |= {f"losses/{index}": loss for index, loss in enumerate(study.losses)}
    arrays |= {f"places/{name}": places for name, places in study.places.items()}
    arrays |= {f"sensitivity/{name}": information for name, information in study.sensitivity.items()}
    if study.bit_losses is not None:
        arrays[BIT_LOSSES] = study.bit_losses
    write_atomic(path, save(arrays))


def load_study(path: Path, graph: ChannelGraph, *, table: BitTable | None = None) -> Study | None:
    """Return the study at `path`; None if there is none, or it is damaged or not of `graph` and `table`."""
    try:
        arrays = load(path.read_bytes())
    except (FileNotFoundError, SafetensorError):
        return None
    n_blocks = range(len(graph.blocks))
    if any(f"{kind}/{index}" not in arrays for kind in ("scores", "losses") for index in n_blocks):
        return None
    bit_losses = None if table is None else arrays.get(BIT_LOSSES)
    if table is not None and (bit_losses is None or bit_losses.shape != table.bits.shape[:2]):
        return None
    study = Study(
        tuple(arrays[f"scores/{index}"] for index in n_blocks),
        tuple(arrays[f"losses/{index}"] for index in n_blocks),
        {name.removeprefix("places/"): array for name, array in arrays.items() if name.startswith("places/")},
        {name.removeprefix("sensitivity/"): array for name, array in arrays.items() if name.startswith("sensitivity/")},
        bit_losses,
    )
    sizes = [(len(score), len(loss)) for score, loss in zip(study.scores, study.losses, strict=True)]
    return study if sizes == [(block.parts * block.size, block.size + 1) for block in graph.blocks] else None


def block_losses(study: Study, keep: NDArray[np.int64], /) -> NDArray[np.float64]:
    """Return what reconstruction loses at each row of `keep` (n, n_genes) if the blocks are taken to add up, (n,).

    It is exact for one cut block; of several, each is taken to be cut while the others are whole.
    """
    return np.asarray(losses_by_block(study, keep).sum(1))


def losses_by_block(study: Study, keep: NDArray[np.int64], /) -> NDArray[np.float64]:
    """Return what reconstruction loses in each block at each row of `keep` (n, n_genes), (n, n_genes)."""
    pairs = zip(study.losses, keep.T, strict=True)
    return np.stack([losses[len(losses) - 1 - kept] for losses, kept in pairs], axis=1)
