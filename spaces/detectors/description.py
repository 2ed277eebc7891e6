"""What a description of layers may say: plain network layers with small numbers, and one activation for all.

It comes from outside, so it must not do anything but describe, and what it describes must not be absurdly large.
"""

import ast
import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from ultralytics.nn import modules as ultralytics_modules
from ultralytics.nn.modules.conv import Conv
from ultralytics.nn.tasks import DetectionModel, parse_model
from ultralytics.utils.torch_utils import initialize_weights

from spaces.cutting.subnet import skeleton_of
from spaces.errors import BadInput

MAX_JSON = 1_000_000  # characters of an architecture
CHANNELS = 3  # of the images that networks read here
MISFITS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NameError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)  # what layers raise that do not fit their arguments or each other
ACTIVATIONS = frozenset(
    {
        "CELU",
        "ELU",
        "GELU",
        "Hardshrink",
        "Hardsigmoid",
        "Hardswish",
        "Hardtanh",
        "Identity",
        "LeakyReLU",
        "LogSigmoid",
        "Mish",
        "PReLU",
        "RReLU",
        "ReLU",
        "ReLU6",
        "SELU",
        "SiLU",
        "Sigmoid",
        "Softplus",
        "Softshrink",
        "Softsign",
        "Tanh",
        "Tanhshrink",
    }
)
WORDS = ("nearest", "nearest-exact", "bilinear", "bicubic", "area", "none", "tanh")  # that layers take as arguments
MAX_NUMBER = 16_384
_PLAIN_LAYERS = frozenset(
    {
        "AdaptiveAvgPool2d",
        "AvgPool2d",
        "BatchNorm2d",
        "Conv2d",
        "ConvTranspose2d",
        "Dropout",
        "Dropout2d",
        "MaxPool2d",
        "PixelShuffle",
        "ReflectionPad2d",
        "ReplicationPad2d",
        "Upsample",
        "UpsamplingBilinear2d",
        "UpsamplingNearest2d",
        "ZeroPad2d",
    }
)
_IMAGE = 256  # pixels, as Ultralytics finds strides on
_MAX_ROWS = 200
_MAX_REPEATS = 500  # over all rows, and inside of one
_MAX_LATER = 2048  # of the numbers in a row after the third, among which are repeats
_MAX_PARAMETERS = 1_000_000_000
_MAX_WORK = 20_000_000_000  # MACs of one convolution on that image; those of the largest detectors take a tenth
_MAX_MAP = 200_000_000  # values of one layer's output on that image


def plain(record: object, /) -> dict[str, object]:
    """Return a copy of `record` made of what JSON can hold.

    Raises:
        BadInput: it is no mapping or holds something else.
    """
    written, length = [], 0
    try:
        for part in json.JSONEncoder().iterencode(record):
            written.append(part)
            length += len(part)
            if length > MAX_JSON:  # a few lists in each other can stand for more than any memory holds
                raise BadInput(f"weights: the description of the layers must be at most {MAX_JSON} characters")
        copied = json.loads("".join(written))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"weights: the description of the layers must be plain data: {error!s:.100}") from error
    if not isinstance(copied, dict):
        raise BadInput(f"weights: the description of the layers must be a mapping, got {copied!r:.60}")
    return copied


def check_channels(yaml: Mapping[str, object], /, *, told: str = "the network") -> None:
    """Make sure that a network, called `told`, reads images of three channels.

    Raises:
        BadInput: it reads others.
    """
    n_channels = yaml.get("channels", yaml.get("ch", CHANNELS))  # "ch" up to Ultralytics 8.2
    if n_channels != CHANNELS:
        plural = "" if n_channels == 1 else "s"
        raise BadInput(
            f"{told} reads {n_channels!r:.20} channel{plural} (channels: {n_channels!r:.20} in its data.yaml); "
            f"this works on {CHANNELS}-channel images"
        )


def check_description(yaml: Mapping[str, object], /) -> None:
    """Make sure that `yaml`, a description of Ultralytics' form, names nothing but plain layers.

    Raises:
        BadInput: it names something else, or a number in it is out of bounds.
    """
    check_channels(yaml)
    activation = yaml.get("activation")
    if activation is not None and not _is_activation(activation):
        raise BadInput(f"activation must be an activation of torch.nn with plain arguments, got {activation!r:.60}")
    rows = [row for section in ("backbone", "head") for row in _section(yaml, section)]
    for index, row in enumerate(rows):
        _check_row(row, index)
    if not 2 <= len(rows) <= _MAX_ROWS or sum(row[1] for row in rows) > _MAX_REPEATS:  # type: ignore[misc]
        raise BadInput(f"a network must have 2 to {_MAX_ROWS} rows and at most {_MAX_REPEATS} layers, got {len(rows)}")
    for name in ("depth_multiple", "width_multiple", "reg_max", "scales", "max_channels"):
        if not is_small(yaml.get(name)):
            raise BadInput(f"{name} must be a small number, got {yaml[name]!r:.60}")


def hollow(yaml: Mapping[str, object], n_classes: int, /) -> DetectionModel:
    """Return the network that a checked description stands for, its tensors without memory: to be looked at.

    Raises:
        BadInput: its layers do not fit each other, or it is absurdly large.
    """
    network = DetectionModel.__new__(DetectionModel)
    nn.Module.__init__(network)
    with building(), torch.device("meta"):
        written = {**copy.deepcopy(dict(yaml)), "nc": n_classes}
        network.model, network.save = parse_model(written, ch=CHANNELS, verbose=False)
        initialize_weights(network)
    if sum(parameter.numel() for parameter in network.parameters()) > _MAX_PARAMETERS:
        raise BadInput(f"a network must have at most {_MAX_PARAMETERS} parameters")
    return network


def untrained(yaml: Mapping[str, object], n_classes: int, /) -> DetectionModel:
    """Return the network that a checked description stands for, with weights drawn at random.

    Raises:
        BadInput: its layers do not fit each other, or it is absurdly large.
    """
    find_strides(hollow(yaml, n_classes))  # what is absurd shows here, before it takes memory
    with building():
        return DetectionModel(copy.deepcopy(dict(yaml)), ch=CHANNELS, nc=n_classes, verbose=False)


@contextmanager
def building() -> Iterator[None]:
    """Turn what layers raise that do not fit into BadInput, and leave the activation of later networks as it was."""
    default = Conv.default_act
    try:
        yield
    except MISFITS as error:
        raise BadInput(f"the architecture cannot be built: {_said(error)}") from error
    finally:
        Conv.default_act = default


def find_strides(model: DetectionModel, /) -> list[float]:
    """Return how many pixels of the image one place of each level of the head spans; no memory is taken.

    Raises:
        BadInput: the network is absurdly large or slow, or its layers do not fit each other.
    """
    network = skeleton_of(model).eval()
    for layer in network.modules():
        layer.register_forward_hook(_check_map)
    head = network.get_submodule(f"model.{len(model.model) - 1}")
    head.training = True  # its raw outputs
    with building():
        raw = network(torch.zeros(1, CHANNELS, _IMAGE, _IMAGE, device="meta"))
        return [_IMAGE / level.shape[-2] for level in raw.get("one2many", raw)["feats"]]


def _section(yaml: Mapping[str, object], name: str) -> Sequence[Sequence[object]]:
    rows = yaml.get(name)
    if not isinstance(rows, Sequence) or not all(isinstance(row, Sequence) and len(row) == 4 for row in rows):
        raise BadInput(f"{name} must be a list of [from, repeats, layer, arguments]")
    return rows


def _check_row(row: Sequence[object], index: int) -> None:
    source, repeats, layer, arguments = row
    if not is_plain_layer(layer):
        raise BadInput(f"layer {layer!r:.60} in row {index} is no plain network layer; refused")
    if not isinstance(repeats, int) or not 0 <= repeats <= _MAX_REPEATS:  # 0: all left out
        raise BadInput(f"row {index} must repeat 0 to {_MAX_REPEATS} times, got {repeats!r:.60}")
    sources = source if isinstance(source, list) else [source]
    if not all(isinstance(one, int) and -_MAX_ROWS < one < max(index, 1) for one in sources):
        raise BadInput(f"row {index} must read rows before it, got {source!r:.60}")
    is_short = isinstance(arguments, list) and len(arguments) <= 10 and all(map(is_small, arguments))
    if not is_short or any(isinstance(one, int) and one > _MAX_LATER for one in arguments[3:]):  # type: ignore[index]
        raise BadInput(f"row {index} may have small numbers, flags and names as arguments, got {arguments!r:.60}")


def is_plain_layer(name: object, /) -> bool:
    """Return whether `name` is that of a layer that does nothing but compute."""
    if not isinstance(name, str) or name == "TorchVision":
        return False
    if name.startswith("nn."):
        return name[3:] in _PLAIN_LAYERS | ACTIVATIONS
    layer = getattr(ultralytics_modules, name, None)
    return isinstance(layer, type) and issubclass(layer, nn.Module)


def _is_activation(text: object) -> bool:
    """Return whether `text` calls an activation of torch.nn with small literals, as Ultralytics itself reads them."""
    try:
        call = ast.parse(str(text).strip()[:200], mode="eval").body
        if not isinstance(call, ast.Call) or ast.unparse(call.func).removeprefix("torch.") not in _ACTIVATION_CALLS:
            return False
        values = [ast.literal_eval(value) for value in call.args]
        named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
        if not all(
            value in WORDS if isinstance(value, str) else is_small(value) for value in (*values, *named.values())
        ):
            return False
        getattr(nn, ast.unparse(call.func).rpartition(".")[2])(*values, **named)
    except MISFITS:
        return False
    return True


_ACTIVATION_CALLS = frozenset(f"nn.{name}" for name in ACTIVATIONS)


def is_small(value: object, /) -> bool:
    """Return whether `value` is a short name, a small number or none, or holds a few of these."""
    if isinstance(value, list | tuple | dict):
        return len(value) <= 32 and all(map(is_small, value.values() if isinstance(value, dict) else value))
    if isinstance(value, str):
        return len(value) < 40 and (value.isidentifier() or value in WORDS)  # no text that stands for a number
    return value is None or (isinstance(value, int | float) and abs(value) <= MAX_NUMBER)  # never NaN


def _check_map(layer: nn.Module, _: object, output: object) -> None:
    if not isinstance(output, Tensor):
        return
    if output.numel() > _MAX_MAP:
        raise BadInput(f"a {type(layer).__name__} makes a map of {tuple(output.shape)} of a small image")
    if isinstance(layer, nn.Conv2d) and output[0, 0].numel() * layer.weight.numel() > _MAX_WORK:
        raise BadInput(f"a convolution with kernels of {layer.kernel_size} takes too much work for a small image")


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
