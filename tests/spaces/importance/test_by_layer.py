from collections import Counter

import numpy as np
import pytest

from spaces.errors import BadInput
from spaces.importance.by_layer import added, filter_means, filter_norms, gammas, kernel_gammas, wanted
from spaces.importance.from_weights import gamma, kernel_gamma, l2
from spaces.importance.scores import Subject
from tests.spaces.chain import chain, chain_graph, noise
from tests.spaces.untrained import detector, graph_of


def test_filters_are_scored_layer_by_layer() -> None:
    model, graph = chain(), chain_graph()
    means, norms = filter_means(model, graph), filter_norms(model, graph)
    assert [block.shape for block in means] == [(1, 6), (1, 5)]
    weight = model.first.weight.detach().double().numpy()
    for channel in range(6):  # naively: 27 weights make each channel of the first layer
        assert means[0][0, channel] == pytest.approx(sum(abs(value) for value in weight[channel].ravel()) / 27)
        assert norms[0][0, channel] == pytest.approx(sum(value**2 for value in weight[channel].ravel()) ** 0.5)


def test_what_layers_say_is_joined_by_sum_or_by_the_highest() -> None:
    scores = (np.array([[0.1, 0.9, 0.5], [0.4, np.nan, 0.2]]),)
    assert added(scores)[0] == pytest.approx([0.5, 0.9, 0.7])
    assert wanted(scores)[0] == pytest.approx([0.4, 0.9, 0.5])


def test_a_network_without_batchnorm_has_no_gammas() -> None:
    with pytest.raises(BadInput, match="importance=gamma needs BatchNorm behind every channel, which 'first' has not"):
        gammas(chain(), chain_graph())
    with pytest.raises(BadInput, match="importance=kernel_gamma needs BatchNorm"):
        kernel_gammas(chain(), chain_graph())


def test_added_up_they_are_the_scores_of_blocks_and_a_chain_has_a_row_for_each_layer() -> None:
    model = detector("yolov5n")
    graph = graph_of()
    image = noise(1, 3, 64, 64)
    subject = Subject(model, graph, image, 0)
    for mine, whole in (
        (gammas(model, graph), gamma(subject)),
        (kernel_gammas(model, graph), kernel_gamma(subject)),
        (filter_norms(model, graph), l2(subject)),
    ):
        assert all(np.allclose(a, b) for a, b in zip(added(mine), whole, strict=True))
    rows = Counter({block.name: len(scores) for block, scores in zip(graph.blocks, gammas(model, graph), strict=True)})
    # a residual chain is made by cv1 and by the last layer of each repeat, of which layer 6 has three
    assert (rows["6.cv1"], rows["6.cv3"]) == (4, 1)
