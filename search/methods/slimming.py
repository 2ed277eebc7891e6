"""Network slimming: one threshold on the BatchNorm scales of the whole network, after training has thinned them out.

Source: Liu 2017, Learning efficient convolutional networks through network slimming (arXiv:1708.06519).
The paper removes a given share of all channels; here the threshold is the lowest that meets the limits. Channels that
a residual joins stay if any layer of the chain wants them, so that what is added up stays aligned.
"""

from functools import partial

import numpy as np

from evaluators.result import Result
from search.methods.rounds import LayerScores, Round, by_threshold, option_at_least
from spaces.space import Keep, Space


def slim(around: Round, /) -> list[Result]:
    """Return the results of the widest candidates of a global threshold within each of the targets."""
    return by_threshold(around, partial(keep_above, around.space, around.scores))


def keep_above(space: Space, scores: LayerScores, threshold: float) -> Keep:
    """Return the keep counts, (n_genes,), when every channel stays that some layer scores above `threshold`.

    They are rounded up to what the space allows; the parts of a block keep as many as the one that wants the most.
    """
    counts = []
    for index, (gene, layers) in enumerate(zip(space.genes, scores, strict=True)):
        best = np.nanmax(layers, axis=0).reshape(-1, gene.size)  # (parts, size)
        counts.append(option_at_least(space, index, int((best > threshold).sum(1).max())))
    return np.array(counts)
