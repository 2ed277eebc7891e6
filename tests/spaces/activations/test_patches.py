import copy

import pytest
import torch
from torch import nn

from spaces.activations.patches import (
    by_place,
    fitted_layers,
    inputs_at,
    kernel_size,
    outputs_at,
    set_weights_,
    weight_matrix,
)
from tests.spaces.chain import noise

CONVOLUTIONS = [
    nn.Conv2d(3, 5, 1),
    nn.Conv2d(3, 5, 3, padding=1, bias=False),
    nn.Conv2d(3, 5, 3, stride=2, padding=1),
    nn.Conv2d(3, 5, 2, stride=2),
    nn.Conv2d(3, 5, 3, padding=2, dilation=2),
    nn.Conv2d(3, 5, (1, 3), padding=(0, 1)),
    nn.Conv2d(3, 5, (5, 2), stride=(2, 1), padding=(2, 0), dilation=(1, 3)),
]


def names(layer: nn.Module) -> str:
    return str(layer)


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=names)
@torch.no_grad()
def test_a_convolution_at_places_is_a_matrix_product(layer: nn.Conv2d) -> None:
    maps = noise(2, 3, 9, 14)
    output = layer(maps)
    places = torch.randperm(2 * output[0, 0].numel(), generator=torch.Generator().manual_seed(0))[:40].sort().values
    read = inputs_at(maps, layer, places)
    assert read.shape == (40, 3 * kernel_size(layer))
    product = read @ weight_matrix(layer) + (0 if layer.bias is None else layer.bias)
    torch.testing.assert_close(product, outputs_at(output, layer, places))
    # a place is (image * height + y) * width + x of the output
    height, width = output.shape[2:]
    expected = [output[place // (height * width), :, place // width % height, place % width] for place in places]
    torch.testing.assert_close(product, torch.stack(expected))


@torch.no_grad()
def test_maps_in_channels_last_memory_read_the_same() -> None:
    layer, maps, places = CONVOLUTIONS[2], noise(2, 3, 9, 14), torch.arange(0, 70, 3)
    last = maps.to(memory_format=torch.channels_last)
    assert torch.equal(inputs_at(last, layer, places), inputs_at(maps, layer, places))
    torch.testing.assert_close(outputs_at(layer(last), layer, places), outputs_at(layer(maps), layer, places))


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 3), (2, 4, 5, 3)])
@torch.no_grad()
def test_a_linear_layer_at_places_is_a_matrix_product_for_any_number_of_dimensions(shape: tuple[int, ...]) -> None:
    layer, inputs, places = nn.Linear(3, 5), noise(*shape), torch.tensor([0, 2, 5])
    output = layer(inputs)
    product = inputs_at(inputs, layer, places) @ weight_matrix(layer) + layer.bias
    torch.testing.assert_close(product, outputs_at(output, layer, places))
    torch.testing.assert_close(product, output.reshape(-1, 5)[places])
    assert by_place(output, layer).shape[::2] == (shape[0], 5)


@pytest.mark.parametrize("layer", [*CONVOLUTIONS, nn.Linear(3, 5)], ids=names)
@torch.no_grad()
def test_weights_that_are_read_and_set_again_are_the_same(layer: nn.Conv2d | nn.Linear) -> None:
    other = copy.deepcopy(layer)
    other.weight.zero_()
    other.bias = nn.Parameter(torch.zeros(5))
    set_weights_(other, weight_matrix(layer), None)
    assert torch.equal(other.weight, layer.weight)
    set_weights_(other, weight_matrix(layer), torch.arange(5.0))
    assert other.bias.tolist() == [0, 1, 2, 3, 4]


def test_only_whole_convolutions_and_linear_layers_are_fitted() -> None:
    model = nn.ModuleDict(
        {
            "whole": nn.Conv2d(4, 4, 1),
            "grouped": nn.Conv2d(4, 4, 1, groups=2),
            "linear": nn.Linear(4, 4),
            "norm": nn.BatchNorm2d(4),
            "dfl": nn.ModuleDict({"conv": nn.Conv2d(16, 1, 1)}),
        }
    )
    assert set(fitted_layers(model)) == {"whole", "linear"}
