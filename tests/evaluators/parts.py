"""A small untrained detector, studied on noise, for every test of what is measured of its candidates."""

from functools import cache

import numpy as np

from evaluators.data.images import Images
from spaces.build import Builder
from spaces.candidate import Candidate
from spaces.importance.by_name import Importance
from spaces.space import Space
from spaces.study import study_parent
from tests.spaces.chain import noise
from tests.spaces.untrained import detector, graph_of


@cache
def builder() -> Builder:
    """Return the builder of a yolov5n at 64 px, its channels in greedy order."""
    graph, images = graph_of(), noise(6, 3, 64, 64)
    study = study_parent(detector(), graph, images, importance=Importance.GREEDY, seed=0)
    return Builder(detector(), graph, Space(graph), images=images, study=study)


def uniform(share: float) -> Candidate:
    """Return the candidate that keeps about `share` of every block."""
    space = builder().space
    nearest = [min(gene.options, key=lambda option: abs(option - share * gene.size)) for gene in space.genes]
    return space.encode(np.array(nearest))


def images(*, n_boxes: int) -> Images:
    """Return three images of noise, the first `n_boxes` of which have a box."""
    return Images(
        pixels=(noise(3, 3, 64, 64, seed=1).numpy() * 255).astype(np.uint8),
        shapes=np.full((3, 2), 64),
        gains=np.ones((3, 2)),
        pads=np.zeros((3, 2), np.int64),
        boxes=np.array([[index, 0, 0.5, 0.5, 0.25, 0.5] for index in range(n_boxes)], np.float32).reshape(-1, 6),
    )
