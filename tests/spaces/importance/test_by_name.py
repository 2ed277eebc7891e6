from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from spaces.activations.fisher import surprise
from spaces.errors import BadInput
from spaces.importance.by_name import Importance
from spaces.importance.from_activations import contribution, fisher, taylor
from spaces.importance.from_weights import at_random, fpgm, gamma, kernel_gamma, l1, l1_of, l2
from spaces.importance.scores import Scores, Subject
from spaces.importance.scoring import score_channels
from tests.spaces.chain import Chain, chain, chain_graph, noise
from tests.spaces.untrained import detector, graph_of

Score = Callable[[Subject], Scores]
IMAGES = noise(4, 3, 16, 16)


def second_score(model: Chain) -> NDArray[np.float64]:
    return contribution(Subject(model, chain_graph(), IMAGES, 0))[1]


def added_variance(model: Chain, channel: int) -> float:
    """Return the variance of what one channel of the second convolution alone adds to the outputs of the last."""
    with torch.no_grad():
        read = model.second(model.first(IMAGES).relu()).relu()
        alone = torch.zeros_like(read)
        alone[:, channel] = read[:, channel]
        return float(model.last(alone).transpose(0, 1).flatten(1).var(1).sum())


def test_a_contribution_is_the_variance_that_the_channel_alone_adds_to_its_reader() -> None:
    expected = [added_variance(chain(), channel) for channel in range(5)]
    assert second_score(chain()).tolist() == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_a_channel_that_is_read_by_zero_weights_contributes_nothing() -> None:
    model = chain()
    model.last.weight[:, 2] = 0
    score = second_score(model)
    assert score[2] == 0
    assert score.max() > 0


@torch.no_grad()
def test_a_channel_that_never_changes_contributes_nothing() -> None:
    model = chain()
    model.second.weight[3] = 0
    assert second_score(model)[3] == pytest.approx(0, abs=1e-9)


def test_l1_is_the_sum_of_the_absolute_weights_of_each_filter() -> None:
    tensors = chain().state_dict()
    scores = l1(tensors, chain_graph())
    for score, name in zip(scores, ("first.weight", "second.weight"), strict=True):
        assert score.tolist() == pytest.approx([float(np.abs(row.numpy()).sum()) for row in tensors[name]])


def naive_distances(filters: Tensor) -> list[float]:
    return [sum(float((one - other).norm()) for other in filters) for one in filters]


@pytest.mark.parametrize(
    ("score", "naive"),
    [
        (l2, lambda filters: [float(np.sqrt((row.numpy() ** 2).sum())) for row in filters]),
        (fpgm, naive_distances),
    ],
)
def test_l2_and_fpgm_are_lengths_of_and_distances_between_filters(
    score: Score, naive: Callable[[Tensor], list[float]]
) -> None:
    tensors, found_of = chain().state_dict(), score(Subject(chain(), chain_graph(), IMAGES, 0))
    for found, name in zip(found_of, ("first.weight", "second.weight"), strict=True):
        assert found.tolist() == pytest.approx(naive(tensors[name]), rel=1e-4)


def detector_subject() -> Subject:
    return Subject(detector(), graph_of(), torch.rand(1, 3, 64, 64), 0)


def block_of(layer: str) -> int:
    return [block.name for block in graph_of().blocks].index(layer)


def test_gamma_is_the_absolute_scale_of_batchnorm() -> None:
    tensors = detector().state_dict()
    score = gamma(detector_subject())[block_of("0")]
    assert score.tolist() == pytest.approx(tensors["model.0.bn.weight"].abs().tolist())


def test_kernel_gamma_weights_the_scale_by_ten_times_the_mean_absolute_kernel() -> None:
    tensors = detector().state_dict()
    score = kernel_gamma(detector_subject())[block_of("0")]
    kernels, scales = tensors["model.0.conv.weight"], tensors["model.0.bn.weight"]
    expected = [
        10 * float(kernel.abs().mean()) * abs(float(scale)) for kernel, scale in zip(kernels, scales, strict=True)
    ]
    assert score.tolist() == pytest.approx(expected, rel=1e-5)


def test_scores_of_layers_that_a_residual_joins_are_added() -> None:
    tensors = detector().state_dict()
    index = block_of("2.cv1")  # what a bottleneck adds to it comes from m.0.cv2
    expected = tensors["model.2.cv1.bn.weight"].abs() + tensors["model.2.m.0.cv2.bn.weight"].abs()
    assert gamma(detector_subject())[index].tolist() == pytest.approx(expected.tolist())


@pytest.mark.parametrize("importance", [Importance.GAMMA, Importance.KERNEL_GAMMA])
def test_a_network_without_batchnorm_has_no_gammas_to_score_by(importance: Importance) -> None:
    with pytest.raises(BadInput, match=rf"importance={importance} needs BatchNorm"):
        score_channels(chain(), chain_graph(), IMAGES, importance=importance, seed=0)


def test_random_scores_follow_the_seed() -> None:
    first, again, other = (at_random(Subject(chain(), chain_graph(), IMAGES, seed)) for seed in (1, 1, 2))
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("importance", [each for each in Importance if each is not Importance.GREEDY])
def test_every_importance_scores_every_channel_of_a_detector(importance: Importance) -> None:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    scores = score_channels(detector(), graph_of(), images, importance=importance, seed=0)
    assert [len(score) for score in scores] == [block.parts * block.size for block in graph_of().blocks]
    assert all(np.isfinite(score).all() and (score >= 0).all() and score.max() > 0 for score in scores)


def squared_slopes(model: Chain, part: Tensor, draws: torch.Generator, gate: str) -> Tensor:
    """Return the squared derivative of the loss by a gate on each channel of the second convolution.

    Args:
        gate: "made", on the filter that makes it, or "read", on what the last convolution reads of it.
    """
    gates = torch.ones(5, requires_grad=True)
    made, read = (gates if gate == place else torch.ones(5) for place in ("made", "read"))
    weight, bias = model.second.weight * made.view(-1, 1, 1, 1), model.second.bias
    second = torch.nn.functional.conv2d(model.first(part).relu(), weight, bias).relu()
    output = model.last(second * read.view(1, -1, 1, 1)).flatten(2)
    (slope,) = torch.autograd.grad(surprise({"boxes": output, "scores": output}, draws), gates)
    return slope.square()


@pytest.mark.parametrize(("gate", "size"), [("made", 8), ("read", 1)])
def test_taylor_and_fisher_are_squared_slopes_of_gates(gate: str, size: int) -> None:
    images, draws = noise(10, 3, 16, 16), torch.Generator().manual_seed(3)
    score = taylor if gate == "made" else fisher
    found = score(Subject(chain(), chain_graph(), images, 3))[1]
    expected = torch.stack([squared_slopes(chain(), part, draws, gate) for part in images.split(size)]).mean(0)
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_scores_by_single_channels_do_not_include_the_greedy_order() -> None:
    with pytest.raises(ValueError, match="greedy"):
        score_channels(chain(), chain_graph(), IMAGES, importance=Importance.GREEDY, seed=0)


@pytest.mark.parametrize("score", [contribution, l1_of, taylor, fisher])
def test_channels_in_another_order_have_their_scores_in_that_order(score: Score) -> None:
    order = [4, 2, 0, 1, 3]
    tensors = chain().state_dict()
    moved = {name: tensors[name][order] for name in ("second.weight", "second.bias")}
    turned = chain()
    turned.load_state_dict({**tensors, **moved, "last.weight": tensors["last.weight"][:, order]})
    expected = score(Subject(chain(), chain_graph(), IMAGES, 0))[1][order]
    assert score(Subject(turned, chain_graph(), IMAGES, 0))[1].tolist() == pytest.approx(expected.tolist(), rel=1e-4)
