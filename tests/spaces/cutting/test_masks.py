import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from spaces.candidate import Candidate
from spaces.channels.graph import ChannelGraph
from spaces.cutting.mask import Granularity, Mask, mask_of
from spaces.cutting.masks import bytes_saved, hold_zeros_, kept, mask_, share_of_zeros, weighted_layers
from spaces.errors import BadInput
from tests.spaces.untrained import detector, graph_of

NO_GRAPH = ChannelGraph((), {}, (), frozenset(), {}, (), 0, {})


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_weights_are_chosen_as_torch_prunes_them() -> None:
    layer = nn.Conv2d(8, 6, 3)
    stays = kept(layer.weight, Mask(Granularity.WEIGHT, 30))
    prune.l1_unstructured(layer, "weight", amount=0.3)
    assert torch.equal(stays, layer.get_buffer("weight_mask").bool())


def test_filters_are_chosen_as_torch_prunes_them() -> None:
    layer = nn.Conv2d(8, 10, 3)
    stays = kept(layer.weight, Mask(Granularity.FILTER, 30))
    prune.ln_structured(layer, "weight", amount=0.3, n=1, dim=0)
    assert torch.equal(stays, layer.get_buffer("weight_mask").bool())


def test_kernels_go_whole_and_the_smallest_first() -> None:
    weight = random(5, 4, 3, 3)
    stays = kept(weight, Mask(Granularity.KERNEL, 50))
    norms = sorted((float(weight[i, j].abs().sum()), i, j) for i in range(5) for j in range(4))
    gone = {(i, j) for _, i, j in norms[:10]}
    assert all(bool(stays[i, j].any()) == bool(stays[i, j].all()) == ((i, j) not in gone) for _, i, j in norms)


def test_the_two_largest_of_every_four_inputs_stay() -> None:
    weight = random(3, 8, 2, 2)
    stays = kept(weight, Mask(Granularity.N_M, 24))
    for out in range(3):
        for start in (0, 4):
            for row in range(2):
                for column in range(2):
                    four = weight[out, start : start + 4, row, column].abs().tolist()
                    largest = sorted(range(4), key=lambda place: -four[place])[:2]
                    assert set(stays[out, start : start + 4, row, column].nonzero().flatten().tolist()) == set(largest)


def test_inputs_that_do_not_divide_by_four_stay_dense() -> None:
    assert kept(random(8, 3, 3, 3), Mask(Granularity.N_M, 24)).all()


def test_of_equal_weights_the_first_go() -> None:
    assert kept(torch.ones(1, 4), Mask(Granularity.WEIGHT, 50)).tolist() == [[False, False, True, True]]


@pytest.fixture(scope="module")
def graph() -> ChannelGraph:
    return graph_of("yolov8n")


@pytest.mark.parametrize("granularity", Granularity)
def test_a_masked_detector_has_its_zeros_and_its_predictions(granularity: Granularity, graph: ChannelGraph) -> None:
    model = copy.deepcopy(detector("yolov8n"))
    before = share_of_zeros(model)
    mask_(model, Mask(granularity, 24 if granularity is Granularity.N_M else 50), graph)
    # the predictions' own filters, the first layer's 3 inputs and depthwise layers are left: somewhat below a half
    assert before == 0 and 0.4 < share_of_zeros(model) <= 0.5
    assert not any("dfl" in name for name in weighted_layers(model))
    head = model.model[-1]
    if granularity is Granularity.FILTER:
        assert all(layer[-1].weight.flatten(1).any(1).all() for layer in (*head.cv2, *head.cv3))
    assert bytes_saved(model) > 0.3 * 4 * sum(layer.weight.numel() for layer in weighted_layers(model).values())


def test_a_dense_detector_saves_nothing_but_one_byte_a_layer_more() -> None:
    model = detector("yolov8n")
    assert bytes_saved(model) == -len(weighted_layers(model))


def test_zeros_stay_zero_under_adamw_and_what_is_not_zero_moves() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.SiLU(), nn.Conv2d(8, 2, 1))
    mask_(model, Mask(Granularity.WEIGHT, 40), NO_GRAPH)
    before = {name: layer.weight.clone() for name, layer in weighted_layers(model).items()}
    hold_zeros_(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    for step in range(3):
        optimizer.zero_grad()
        model(random(2, 4, 8, 8) + step).square().sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
    for name, layer in weighted_layers(model).items():
        assert torch.equal(layer.weight == 0, before[name] == 0)
        assert bool((layer.weight != before[name])[before[name] != 0].all())


def test_mask_and_pick_are_each_other() -> None:
    mask = Mask(Granularity.KERNEL, 30)
    assert mask_of(Candidate("same", (("2.cv1", 8), mask.pick))) == mask
    assert mask_of(Candidate("same", (("2.cv1", 8),))) is None


@pytest.mark.parametrize(
    "picks",
    [
        (("mask.weight", 0),),
        (("mask.weight", 100),),
        (("mask.n_m", 30),),
        (("mask.rows", 30),),
        (("mask.kernel", 30), ("mask.weight", 30)),
    ],
)
def test_masks_that_do_not_exist_are_refused(picks: tuple[tuple[str, int], ...]) -> None:
    with pytest.raises(BadInput, match="must"):
        mask_of(Candidate("same", picks))
