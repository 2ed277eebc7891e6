import pytest
import torch
from torch import Tensor, nn

from spaces.activations.fisher import BATCH, BOX_GAIN, CLASS_GAIN, fisher_information, surprise
from tests.spaces.chain import Chain, chain, noise
from tests.spaces.untrained import detector

IMAGES = noise(2 * BATCH + 1, 3, 16, 16)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def mean_squares(scores: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared gradients of the surprise by scores and boxes, mean over images and anchors."""
    scores, boxes = scores.requires_grad_(), boxes.requires_grad_()
    surprise({"scores": scores, "boxes": boxes}, generator()).backward()
    assert scores.grad is not None
    assert boxes.grad is not None
    return scores.grad.square().mean((0, 2)), boxes.grad.square().mean((0, 2))


def same_everywhere(logits: list[float], n: int = 20_000) -> Tensor:
    return torch.tensor(logits)[None, :, None].repeat(2, 1, n)


def test_the_information_of_a_score_is_the_variance_of_its_class() -> None:
    logits = [-2.0, 0.0, 1.0]
    found, _ = mean_squares(same_everywhere(logits), same_everywhere([0.0] * 4))
    chances = torch.tensor(logits).sigmoid()
    # the gradient of the cross-entropy is p - y, and E (p - y)^2 = p (1 - p)
    torch.testing.assert_close(found, CLASS_GAIN**2 * chances * (1 - chances), rtol=0.05, atol=0)


def test_the_information_of_an_edge_of_bins_is_the_variance_of_each_bin_where_something_is_seen() -> None:
    logits = [0.5, -1.0, 2.0]
    for score in (2.0, -4.0):
        _, found = mean_squares(same_everywhere([score, -9.0]), same_everywhere(logits * 4))
        chances = torch.tensor(logits * 4).reshape(4, 3).softmax(1).flatten()
        # the gradient of -log p[bin] is p - onehot(bin); its weight is the square root of the best score
        expected = (BOX_GAIN / 4) ** 2 * torch.tensor(score).sigmoid() * chances * (1 - chances)
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0)


def test_the_information_of_an_edge_without_bins_is_that_of_a_unit_normal_mean() -> None:
    _, found = mean_squares(same_everywhere([1.0]), same_everywhere([3.0, -5.0, 0.0, 7.0]))
    expected = (BOX_GAIN / 4) ** 2 * torch.tensor(1.0).sigmoid()  # 1, times the square of the weight
    torch.testing.assert_close(found, expected.repeat(4), rtol=0.05, atol=0)


def test_the_information_of_an_objectness_is_what_it_moves_the_deployed_chances() -> None:
    class_logits, objectness = [-1.0, 2.0], 0.5
    outputs = {"scores": same_everywhere(class_logits), "objectness": same_everywhere([objectness]).requires_grad_()}
    surprise({**outputs, "boxes": same_everywhere([0.0] * 4)}, generator()).backward()
    assert outputs["objectness"].grad is not None
    found = outputs["objectness"].grad.square().mean()
    q = torch.tensor(objectness).sigmoid()
    p = q * torch.tensor(class_logits).sigmoid()
    # the gradient by log p - log(1 - p) is p - y as ever, and d log p = (1 - q) do, so that of the objectness is
    # the sum over classes of (p - y) (1 - q) / (1 - p), whose draws are independent and have mean 0
    expected = CLASS_GAIN**2 * (p * (1 - p) * ((1 - q) / (1 - p)) ** 2).sum()
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0)


def test_both_heads_of_an_end_to_end_detector_count() -> None:
    heads = [{"scores": noise(2, 3, 5, seed=seed), "boxes": noise(2, 8, 5, seed=seed + 9)} for seed in range(2)]
    rng = generator()
    alone = [surprise(head, rng) for head in heads]
    together = surprise({"one2many": heads[0], "one2one": heads[1]}, generator())
    torch.testing.assert_close(together, alone[0] + alone[1])


def by_hand(parent: Chain, seed: int) -> dict[str, Tensor]:
    """Return the squared gradients by the outputs of each layer, (N, C, H, W)."""
    rng = torch.Generator().manual_seed(seed)
    squares: dict[str, list[Tensor]] = {"first": [], "second": [], "last": []}
    for start in range(0, len(IMAGES), BATCH):
        first = parent.first(IMAGES[start : start + BATCH])
        second = parent.second(first.relu())
        last = parent.last(second.relu())
        loss = surprise({"scores": last.flatten(2), "boxes": last.flatten(2)}, rng)
        for name, gradient in zip(squares, torch.autograd.grad(loss, [first, second, last]), strict=True):
            squares[name].append(gradient.square())
    return {name: torch.cat(parts) for name, parts in squares.items()}


def test_every_layer_gets_the_squared_gradients_of_its_outputs() -> None:
    found, expected = fisher_information(chain(), IMAGES, seed=3), by_hand(chain(), seed=3)
    assert set(found.channels) == set(found.places) == set(expected)
    for name, squares in expected.items():
        torch.testing.assert_close(found.channels[name], squares.sum((2, 3)).mean(0))
        torch.testing.assert_close(found.places[name], squares.sum(1).flatten(1))


def test_it_follows_the_seed() -> None:
    first, same, other = (fisher_information(chain(), IMAGES, seed=seed).channels["first"] for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_parent_stays_untouched() -> None:
    parent = chain().requires_grad_(False)
    fisher_information(parent, IMAGES, seed=0)
    assert all(torch.equal(tensor, chain().state_dict()[name]) for name, tensor in parent.state_dict().items())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in parent.parameters())
    assert not any(layer._forward_hooks for layer in parent.modules())


@pytest.mark.parametrize("name", ["yolov8n", "yolov10n", "yolo26n"])  # bins, two heads, four box channels
def test_every_layer_of_a_detector_has_some(name: str) -> None:
    found = fisher_information(detector(name), noise(2, 3, 64, 64), seed=0)
    assert len(found.channels) > 50
    assert all(information.sum() > 0 for information in found.channels.values())


class Odd(Chain):
    """Runs one layer twice, and another one for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Conv2d(5, 5, 1)
        self.unread = nn.Conv2d(5, 5, 1)
        self.never = nn.Conv2d(5, 5, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the outputs as a chain does."""
        second = self.twice(self.twice(self.second(self.first(images).relu())))
        self.unread(second)
        output = self.last(second).flatten(2)
        return output, {"boxes": output, "scores": output}


def test_layers_that_run_twice_or_for_nothing_are_left_out() -> None:
    assert set(fisher_information(Odd().eval(), IMAGES, seed=0).places) == {"first", "second", "last"}


def test_predictions_that_are_not_finite_are_said_to_be_so() -> None:
    images = IMAGES.clone()
    images[3, 0, 4, 4] = torch.inf
    with pytest.raises(FloatingPointError, match="predictions of the parent must be finite"):
        fisher_information(chain(), images, seed=0)
