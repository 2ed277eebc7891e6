import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluators.proxies.zero_cost import naswot_of, sign_agreement, synaptic_flow_, synflow_of, zen_score_
from spaces.build import Builder, Subnet
from spaces.recovery.recovery import Recovery
from tests.evaluators.parts import builder, uniform
from tests.spaces.chain import noise


class Toy(nn.Module):
    """Two layers with BatchNorm between them, its outputs those of a detector in training."""

    def __init__(self, width: int = 6, *, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Conv2d(3, width, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.last = nn.Conv2d(width, 4, 1, bias=False)

    def forward(self, images: Tensor) -> dict[str, Tensor | list[Tensor]]:
        """Return the raw outputs and what the head reads."""
        features = self.bn(self.first(images))
        output = self.last(features)
        return {"boxes": output, "scores": output[:, :0], "feats": [features]}


def test_the_flow_is_that_of_the_absolute_weights_once_for_each_layer() -> None:
    toy = Toy()
    first, last = (layer.weight.detach().abs()[:, :, 0, 0].double() for layer in (toy.first, toy.last))
    through = float((last @ first).sum()) * 4 * 4  # R: ones through both layers, at each of 4 x 4 places
    assert synaptic_flow_(toy, (4, 4)) == pytest.approx(2 * through)  # R is linear in each layer: w * dR/dw sums to R


def test_the_flow_does_not_depend_on_batch_norm_statistics() -> None:
    plain, odd = Toy(), Toy()
    odd.bn.running_mean = torch.full((6,), 1e3)
    odd.bn.weight.data.fill_(-5.0)
    assert synaptic_flow_(plain, (4, 4)) == pytest.approx(synaptic_flow_(odd, (4, 4)))


def test_images_agree_in_the_places_where_both_are_on_or_both_are_off() -> None:
    values = noise(4, 3, 5) - 0.5
    naive = [[int(((a > 0) == (b > 0)).sum()) for b in values] for a in values]
    assert sign_agreement(values).tolist() == naive


def test_naswot_is_the_log_determinant_over_all_activations() -> None:
    subnet = Subnet(uniform(0.5), builder())
    signs = []
    model = subnet.network(Recovery.NOTHING)
    hooks = [
        layer.register_forward_hook(lambda _, __, output: signs.append(output > 0))
        for layer in model.modules()
        if isinstance(layer, nn.BatchNorm2d)
    ]
    model(builder().images)  # each BatchNorm of a yolov5n is followed by its activation
    for hook in hooks:
        hook.remove()
    codes = torch.cat([sign.flatten(1) for sign in signs], 1)
    kernel = np.array([[int((a == b).sum()) for b in codes] for a in codes], float)
    assert naswot_of(subnet)["naswot"] == pytest.approx(np.linalg.slogdet(kernel)[1], rel=1e-6)


def test_images_that_look_the_same_have_no_naswot() -> None:
    own = builder()
    twins = Builder(own.parent, own.graph, own.space, images=own.images[:1].repeat(3, 1, 1, 1), study=own.study)
    with pytest.raises(ValueError, match="images that differ"):
        naswot_of(Subnet(uniform(0.5), twins))


def test_the_zen_score_knows_the_widths_and_not_the_weights() -> None:
    assert zen_score_(Toy()) == zen_score_(Toy(seed=1))
    assert zen_score_(Toy(6)) < zen_score_(Toy(12)) < zen_score_(Toy(24))


def test_the_zen_score_multiplies_back_what_batch_norm_divides_by() -> None:
    # noise of 0.01 on x moves a channel w.x, normal of variance |w|^2, by 0.01 |w| sqrt(2 / pi) on average; BatchNorm
    # divides by |w|, and the root of the mean of |w|^2 over channels, 3 weights of variance 1 each, is multiplied back
    expected = math.log(0.01 * 256 * 64 * 64 * math.sqrt(2 / math.pi) * math.sqrt(3))
    assert zen_score_(Toy(256)) == pytest.approx(expected, abs=0.1)


def test_a_wider_cut_has_more_flow() -> None:
    flows = [synflow_of(Subnet(uniform(share), builder()))["synflow"] for share in (0.3, 0.6, 1.0)]
    assert flows == sorted(flows)
    assert flows[0] < flows[-1]
