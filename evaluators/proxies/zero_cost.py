"""Proxies of architecture search, as baselines: they look at the cut network, but at no label and no recovery."""

import copy
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from evaluators.data.images import Images
from evaluators.measure import Evaluator
from spaces.build import Subnet
from spaces.networks.outputs import TENSORS
from spaces.recovery.recovery import Recovery

NASWOT_IMAGES = 32
ZEN_PIXELS, ZEN_BATCH, ZEN_REPEATS, ZEN_STEP = 64, 16, 4, 0.01


def synflow(_: Images, __: Recovery, /) -> Evaluator:
    """Return the evaluator of "synflow"."""
    return synflow_of


def naswot(_: Images, __: Recovery, /) -> Evaluator:
    """Return the evaluator of "naswot"."""
    return naswot_of


def zen(_: Images, __: Recovery, /) -> Evaluator:
    """Return the evaluator of "zen"."""
    return zen_of


def synflow_of(subnet: Subnet, /) -> dict[str, float]:
    """Return "synflow", log10 of the synaptic flow of the cut network."""
    model = copy.deepcopy(subnet.network(Recovery.NOTHING))
    return {"synflow": math.log10(synaptic_flow_(model, subnet.builder.images.shape[2:]))}


def synaptic_flow_(model: nn.Module, size: Sequence[int], /) -> float:
    """Return sum |w * dR/dw|, where R is the sum of the raw outputs for an image of ones; `model` is spoilt.

    Weights are taken absolute and BatchNorm is left out: its statistics would turn signs and scale flows at will.
    Source: Tanaka 2020 (arXiv:2006.05467), equation 2; without BatchNorm as Abdelfattah 2021 (arXiv:2101.08134).
    """
    model.double().train()  # a head in training gives its raw outputs alone
    for layer in list(model.modules()):
        for name, child in layer.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(layer, name, nn.Identity())
    weights = [weight.requires_grad_(True) for weight in model.parameters()]
    for weight in weights:
        weight.data.abs_()
    raw = _raw(model, torch.ones(1, 3, *size, dtype=torch.float64, device=weights[0].device))
    total = torch.stack([raw[name].sum() for name in TENSORS if name in raw]).sum()
    slopes = torch.autograd.grad(total, weights, allow_unused=True)
    flows = [(weight * slope).sum() for weight, slope in zip(weights, slopes, strict=True) if slope is not None]
    return float(torch.stack(flows).detach().sum())


@torch.no_grad()
def naswot_of(subnet: Subnet, /) -> dict[str, float]:
    """Return "naswot", log |det K|, where K[i, j] is how many activations' inputs have one sign in images i and j.

    Raises:
        ValueError: two images have the same signs everywhere.
    Source: Mellor 2021, Neural architecture search without training (arXiv:2006.04647), equations 2 and 3.
    """
    model = copy.deepcopy(subnet.network(Recovery.NOTHING))
    kernels: list[Tensor] = []
    for layer in model.modules():  # one activation may serve many layers
        if isinstance(layer, nn.SiLU | nn.ReLU | nn.LeakyReLU):
            layer.register_forward_pre_hook(lambda _, inputs: kernels.append(sign_agreement(inputs[0])))
    model(subnet.builder.images[:NASWOT_IMAGES])
    value = float(torch.linalg.slogdet(torch.stack(kernels).double().sum(0)).logabsdet)
    if not math.isfinite(value):
        raise ValueError("naswot must see images that differ, got a singular kernel")
    return {"naswot": value}


def sign_agreement(values: Tensor, /) -> Tensor:
    """Return (N, N) in how many places two of N images are both above 0 or both not, of `values` (N, ...)."""
    code = (values > 0).flatten(1).float()
    return code @ code.T + (1 - code) @ (1 - code).T


def zen_of(subnet: Subnet, /) -> dict[str, float]:
    """Return "zen", the Zen score of a random network of the candidate's widths."""
    return {"zen": zen_score_(copy.deepcopy(subnet.network(Recovery.NOTHING)).cpu())}


@torch.no_grad()
def zen_score_(model: nn.Module, /) -> float:
    """Return the logarithm of how far noise in the input moves what the head reads; `model` is spoilt.

    Weights are drawn anew, shortcuts left out, and what BatchNorm divides by is multiplied back.
    Source: Lin 2021, Zen-NAS (arXiv:2102.01063), algorithm 1.
    """
    model.train()
    generator = torch.Generator().manual_seed(0)
    scales: list[Tensor] = []
    for layer in model.modules():
        _randomise_(layer, generator)
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_pre_hook(lambda _, inputs: scales.append(inputs[0].var((0, 2, 3)).mean().sqrt()))
    values = []
    for _ in range(ZEN_REPEATS):
        scales.clear()
        images, noise = torch.randn(2, ZEN_BATCH, 3, ZEN_PIXELS, ZEN_PIXELS, generator=generator)
        first = _raw(model, images)["feats"]
        undone = sum(math.log(float(scale)) for scale in scales)
        second = _raw(model, images + ZEN_STEP * noise)["feats"]
        moved = sum(float((a - b).abs().sum()) for a, b in zip(first, second, strict=True)) / ZEN_BATCH
        values.append(math.log(moved) + undone)
    return math.fsum(values) / ZEN_REPEATS


def _randomise_(layer: nn.Module, generator: torch.Generator) -> None:
    """Give `layer` normal weights; a bottleneck loses its shortcut."""
    if isinstance(layer, nn.BatchNorm2d):
        layer.reset_parameters()
    elif isinstance(layer, nn.Conv2d | nn.Linear):
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
        if layer.bias is not None:
            layer.bias.zero_()
    elif isinstance(getattr(layer, "add", None), bool):
        layer.add = False  # type: ignore[assignment]


def _raw(model: nn.Module, images: Tensor) -> Mapping[str, Tensor]:
    """Return the raw outputs of `model`, a detector in training mode."""
    raw: Mapping[str, Mapping[str, Tensor]] = model(images)
    return raw.get("one2many", raw)  # type: ignore[arg-type]
