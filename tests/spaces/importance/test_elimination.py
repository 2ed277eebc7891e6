from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spaces.activations.covariance import Covariance, covariances
from spaces.activations.patches import fitted_layers, kernel_size, weight_matrix
from spaces.channels.graph import Axis, Block, ChannelGraph
from spaces.cutting.subnet import choose_channels
from spaces.importance.elimination import Elimination, eliminate
from tests.spaces.chain import all_places, chain, chain_graph, noise

ONE_BLOCK = Block("maker", 6, 1)


def reading(block: Block, **atoms: list[int]) -> ChannelGraph:
    """Return the graph of layers that read `block`, their input channels its `atoms` by layer name (-1: others)."""
    axes = {
        (f"{name}.weight", 1): Axis(np.where(np.array(each) >= 0, 0, -1), np.array(each))
        for name, each in atoms.items()
    }
    return replace(chain_graph(), blocks=(block,), axes=axes)


def some_covariance(n: int, seed: int = 0) -> Covariance:
    root = torch.randn(n, n, generator=torch.Generator().manual_seed(seed))
    return Covariance(root @ root.T / n, torch.zeros(n))


def readers(*layers: nn.Conv2d | nn.Linear) -> nn.ModuleDict:
    return nn.ModuleDict({f"reader{index}": layer for index, layer in enumerate(layers)})


def naive_loss(
    model: nn.Module,
    graph: ChannelGraph,
    found: Mapping[str, Covariance],
    channels: Mapping[str, Tensor],
    gone: set[int],
) -> float:
    """Return what is lost when the readers of block 0 are fitted without the channels `gone`, by least squares.

    With the covariance D = L L', the error e of the weights costs e' D e = |L' e|^2; the error of a channel that is
    gone is its weight, that of the others is free.
    """
    loss = 0.0
    for name, layer in fitted_layers(model).items():
        axis = graph.axes.get((f"{name}.weight", 1))
        if axis is None:
            continue
        is_gone = torch.from_numpy((axis.blocks == 0) & np.isin(axis.atoms, list(gone)))
        is_gone = is_gone.repeat(kernel_size(layer))  # the columns are ordered by kernel place, then by channel
        root = torch.linalg.cholesky(found[name].damped().double()).T
        lost = root[:, is_gone] @ (weight_matrix(layer) * channels[name].sqrt()).double()[is_gone]
        free = torch.linalg.lstsq(root[:, ~is_gone], -lost).solution
        loss += float((lost + root[:, ~is_gone] @ free).square().sum())
    return loss


def assert_greedy(found: Elimination, block: Block, naive: partial[float]) -> None:
    """Hold `found` against removing, one round after the other, the cheapest channel of each part."""
    gone: set[int] = set()
    losses = [0.0]
    for n_gone in range(block.size - 1):
        before = naive(gone=gone)
        cheapest = set()
        for part in range(block.parts):
            left = sorted({part * block.size + index for index in range(block.size)} - gone)
            costs = {atom: naive(gone=gone | {atom}) - before for atom in left}
            cheapest.add(min(costs, key=lambda atom: costs[atom]))
        assert {int(atom) for atom in np.flatnonzero(found.scores == n_gone)} == cheapest
        gone |= cheapest
        losses.append(naive(gone=gone))
    assert found.losses[:-1].tolist() == pytest.approx(losses, rel=1e-3, abs=1e-5)


@torch.no_grad()
def check(model: nn.Module, graph: ChannelGraph) -> Elimination:
    layers = fitted_layers(model)
    found = {
        name: some_covariance(kernel_size(layer) * layer.weight.shape[1], seed)
        for seed, (name, layer) in enumerate(layers.items())
    }
    channels = {name: noise(layer.weight.shape[0], seed=7) for name, layer in layers.items()}
    elimination = eliminate(model, graph, found, channels)[0]
    naive = partial(naive_loss, model, graph, found, channels)
    assert_greedy(elimination, graph.blocks[0], naive)
    return elimination


@pytest.mark.parametrize("layer", [nn.Conv2d(6, 4, 1), nn.Conv2d(6, 4, 3), nn.Conv2d(6, 4, (1, 2)), nn.Linear(6, 4)])
def test_a_channel_costs_what_fitting_the_reader_without_it_loses(layer: nn.Conv2d | nn.Linear) -> None:
    check(readers(layer), reading(ONE_BLOCK, reader0=list(range(6))))


def test_two_readers_add_up() -> None:
    atoms = list(range(6))
    model = readers(nn.Conv2d(6, 4, 1), nn.Conv2d(6, 3, 3))
    check(model, reading(ONE_BLOCK, reader0=atoms, reader1=atoms))


def test_a_reader_of_other_channels_too_shifts_weight_to_those() -> None:
    check(readers(nn.Conv2d(9, 4, 1)), reading(ONE_BLOCK, reader0=[-1, 0, 1, 2, -1, 3, 4, 5, -1]))


def test_a_reader_may_read_a_channel_several_times() -> None:
    check(readers(nn.Conv2d(24, 4, 1)), reading(ONE_BLOCK, reader0=list(range(6)) * 4))  # as behind SPPF's poolings


def test_channels_may_be_read_unequally_often() -> None:
    check(readers(nn.Conv2d(9, 4, 1)), reading(ONE_BLOCK, reader0=[*range(6), 0, 1, 2]))


def test_the_parts_of_a_block_lose_equally_many_each() -> None:
    block = Block("maker", 4, 2)
    model = readers(nn.Conv2d(8, 4, 1), nn.Conv2d(4, 3, 3))
    found = check(model, reading(block, reader0=list(range(8)), reader1=[4, 5, 6, 7]))
    assert sorted(found.scores[:4].tolist()) == sorted(found.scores[4:].tolist()) == [0, 1, 2, 4]


@torch.no_grad()
def test_on_a_network_it_is_greedy_too_and_blocks_are_taken_one_by_one() -> None:
    parent, images, graph = chain(), noise(4, 3, 16, 16), chain_graph()
    found = covariances(parent, images, all_places(parent, images))
    channels = {"first": noise(6), "second": noise(5), "last": noise(4)}
    first, second = eliminate(parent, graph, found, channels)
    # block 0 is read by `second` alone, whose loss counts for all its outputs though block 1 would cut some
    naive = partial(naive_loss, parent, graph.without({"second": "not looked at"}), found, channels)
    assert_greedy(first, graph.blocks[0], naive)
    assert len(second.scores) == 5


@torch.no_grad()
def test_of_two_channels_that_tell_the_same_one_goes_first_and_the_other_becomes_dear() -> None:
    values = noise(500, 6)
    values[:, 4] = values[:, 1]
    layer = nn.Conv2d(6, 4, 1)
    layer.weight.fill_(1.0)
    matrix = torch.cov(values.T)
    found = eliminate(
        readers(layer),
        reading(ONE_BLOCK, reader0=list(range(6))),
        {"reader0": Covariance(matrix, values.mean(0))},
        {"reader0": torch.ones(4)},
    )[0]
    assert min(found.scores[1], found.scores[4]) == 0
    assert max(found.scores[1], found.scores[4]) == 6  # what is left then carries both
    # values of variance v, independent but for the twins, and a ridge of v / 10: the twin that stays takes over e of
    # the weight 1 at min v (1 - e)^2 + .1 v (1 + e^2), which is .191 v; any other costs 1.1 v, and each output pays
    variance = float(matrix.diagonal().mean())
    assert found.losses[1] == pytest.approx(4 * 0.191 * variance, rel=0.15)
    assert found.losses[2] - found.losses[1] == pytest.approx(4 * 1.1 * variance, rel=0.15)


@settings(deadline=None, max_examples=10)
@given(st.permutations(range(6)))
@torch.no_grad()
def test_channels_in_another_order_go_in_that_order(order: list[int]) -> None:
    layer, turned = nn.Conv2d(6, 4, 1), nn.Conv2d(6, 4, 1)
    turned.weight.copy_(layer.weight[:, order])
    found = some_covariance(6)
    moved = Covariance(found.matrix[order][:, order], found.mean[order])
    graph, channels = reading(ONE_BLOCK, reader0=list(range(6))), {"reader0": torch.ones(4)}
    first = eliminate(readers(layer), graph, {"reader0": found}, channels)[0]
    second = eliminate(readers(turned), graph, {"reader0": moved}, channels)[0]
    assert second.scores.tolist() == first.scores[order].tolist()
    assert second.losses.tolist() == pytest.approx(first.losses.tolist(), rel=1e-4)


@torch.no_grad()
def test_many_channels_at_a_time_lose_what_they_lose_together() -> None:
    block = Block("maker", 60, 1)  # three at a time at first
    model, graph = readers(nn.Conv2d(60, 4, 1)), reading(block, reader0=list(range(60)))
    found, channels = {"reader0": some_covariance(60)}, {"reader0": torch.ones(4)}
    elimination = eliminate(model, graph, found, channels)[0]
    for n_gone in (3, 6, 50, 59):  # 60, 57 and 54 channels lose 3, 2 and 2, from 40 on one by one
        gone = set(np.flatnonzero(elimination.scores < n_gone).tolist())
        assert len(gone) == n_gone
        expected = naive_loss(model, graph, found, channels, gone)
        if n_gone != 6:  # inside a step the loss is a share of the step's
            assert elimination.losses[n_gone] == pytest.approx(expected, rel=1e-3)
    assert (np.diff(elimination.losses) >= 0).all()


@torch.no_grad()
def test_a_block_that_nothing_fitted_reads_goes_in_its_own_order_at_no_cost() -> None:
    found = eliminate(readers(), reading(ONE_BLOCK), {}, {})[0]
    assert found.losses.tolist() == [0.0] * 7
    kept = choose_channels(reading(ONE_BLOCK), (found.scores,), np.array([2]))[0]
    assert kept.sum() == 2


@torch.no_grad()
def test_images_that_tell_nothing_still_give_an_order() -> None:
    nothing = {"reader0": Covariance(torch.zeros(6, 6), torch.zeros(6))}
    graph = reading(ONE_BLOCK, reader0=list(range(6)))
    found = eliminate(readers(nn.Conv2d(6, 4, 1)), graph, nothing, {"reader0": torch.zeros(4)})[0]
    assert found.losses.tolist() == [0.0] * 7
    assert sorted(found.scores.tolist()) == [0, 1, 2, 3, 4, 6]


def test_the_parent_stays_untouched() -> None:
    parent, images = chain(), noise(4, 3, 16, 16)
    found = covariances(parent, images, all_places(parent, images))
    matrices = {name: each.matrix.clone() for name, each in found.items()}
    eliminate(
        parent,
        chain_graph(),
        found,
        {name: torch.ones(len(layer.weight)) for name, layer in fitted_layers(parent).items()},
    )
    assert all(torch.equal(tensor, chain().state_dict()[name]) for name, tensor in parent.state_dict().items())
    assert all(torch.equal(found[name].matrix, matrix) for name, matrix in matrices.items())
