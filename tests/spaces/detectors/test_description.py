import pytest

from spaces.detectors.description import check_channels, check_description, hollow, plain, untrained
from spaces.errors import BadInput
from tests.spaces.detectors.files import SMALL


@pytest.mark.parametrize(
    "activation",
    [
        "nn.SiLU()",
        "torch.nn.ReLU()",
        "nn.LeakyReLU(0.02, inplace=True)",
        " nn.Hardtanh(-1, max_val = 6.0) ",
        "nn.PReLU(num_parameters=1, init=.1)",
        "nn.GELU(approximate='tanh')",
        "nn.Identity()",
    ],
)
def test_an_activation_of_torch_with_plain_arguments_is_taken(activation: str) -> None:
    check_description({**SMALL, "activation": activation})
    hollow({**SMALL, "activation": activation}, 3)


@pytest.mark.parametrize(
    "activation",
    [
        "nn.ReLU",
        "nn.Sequential()",
        "nn.PReLU(10**9)",
        "nn.PReLU(999999999)",
        "nn.LeakyReLU(slope=0.1)",
        "nn.LeakyReLU(0.1",
        "nn.ReLU(**{'inplace': True})",
        "nn.GELU(approximate='cube')",
        "nn.PReLU(device='cuda')",
        "nn.modules.os.system('true')",
        "__import__('os').system('true')",
        "(" * 150,
        "nn.ReLU() or exit()",
        7,
        ["nn.ReLU()"],
    ],
)
def test_what_is_no_such_activation_is_refused(activation: object) -> None:
    with pytest.raises(BadInput, match="activation must be an activation of"):
        check_description({**SMALL, "activation": activation})


def with_row(row: object) -> dict[str, object]:
    """Return a description whose second row is `row`."""
    backbone = SMALL["backbone"]
    assert isinstance(backbone, list)
    return {**SMALL, "backbone": [backbone[0], row, *backbone[2:]]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([-1, 1, "os.system", ["true"]], "no plain network layer"),
        ([-1, 1, "nn.modules.os", []], "no plain network layer"),
        ([-1, 1, "nn.LSTM", [9]], "no plain network layer"),
        ([-1, 1, "TorchVision", [9]], "no plain network layer"),
        ([-1, 1, "torchvision.ops.Conv2dNormActivation", [9]], "no plain network layer"),
        ([-1, 10**9, "Conv", [16]], "repeat 0 to 500 times"),
        ([-1, "1", "Conv", [16]], "repeat 0 to 500 times"),
        ([5, 1, "Conv", [16]], "must read rows before it"),
        ([None, 1, "Conv", [16]], "must read rows before it"),
        ([-1, 1, "Conv", [10**9]], "small numbers"),
        ([-1, 1, "Conv", ["9999999"]], "small numbers"),
        ([-1, 1, "RepNCSPELAN4", [16, 16, 8, 10_000]], "small numbers"),
        ([-1, 1, "Conv", "16"], "small numbers"),
        ([-1, 1, "Conv"], r"must be a list of \[from"),
    ],
)
def test_a_row_that_is_more_than_a_plain_layer_is_refused(row: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        check_description(with_row(row))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([-1, 1, "Conv", [16_000, 245, 2]], "parameters|too much work"),
        ([-1, 1, "nn.Upsample", [None, 1000]], "makes a map"),
        ([-1, 1, "Conv", ["d", 3, 2]], "cannot be built"),
        ([-1, 1, "Concat", [1]], "cannot be built"),
    ],
)
def test_what_cannot_be_built_or_only_absurdly_large_is_refused(row: object, message: str) -> None:
    check_description(with_row(row))
    with pytest.raises(BadInput, match=message):
        untrained(with_row(row), 3)


@pytest.mark.parametrize("row", [[-1, 1, "nn.ConvTranspose2d", [16, 2, 2, 0]], [-1, 2, "nn.AvgPool2d", [2, 2]]])
def test_plain_layers_of_torch_are_taken(row: list[object]) -> None:
    check_description(with_row(row))


@pytest.mark.parametrize(("key", "value"), [("scales", {"n": [1e9, 1, 1]}), ("depth_multiple", 1e9), ("reg_max", "16")])
def test_numbers_of_the_whole_are_small(key: str, value: object) -> None:
    with pytest.raises(BadInput, match=f"{key} must be a small number"):
        check_description({**SMALL, key: value})


@pytest.mark.parametrize(
    ("key", "n", "said"),
    [("channels", 1, "reads 1 channel "), ("ch", 1, "reads 1 channel "), ("channels", 6, "reads 6 channels ")],
)
def test_a_network_of_other_images_is_told_in_a_sentence(key: str, n: int, said: str) -> None:
    with pytest.raises(BadInput, match=rf"{said}\(channels: {n} in its data.yaml\); this works on 3-channel images"):
        check_channels({key: n})
    check_channels({"channels": 3})
    check_channels({})


def test_plain_data_is_copied_and_nothing_else() -> None:
    assert plain({"a": [1, (2, None)]}) == {"a": [1, [2, None]]}
    refused: list[object] = [[], {"a": {1, 2}}, {"a": object()}]
    for record in refused:
        with pytest.raises(BadInput, match=r"plain data|mapping"):
            plain(record)
