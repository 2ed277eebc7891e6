import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spaces.detectors.yolov5.head import AnchorDetect
from spaces.detectors.yolov5.loss import AnchorLoss, match
from tests.spaces.detectors.yolov5.test_head import ANCHORS, STRIDES, head, maps

HEIGHT, WIDTH = 64, 32


def batch(n_objects: int, *, seed: int = 0) -> dict[str, Tensor]:
    """Return objects in two images, some of them at the very edge."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(n_objects, 4, generator=generator) * torch.tensor([1.0, 1.0, 0.9, 0.9]) + 0.001
    boxes[: n_objects // 4, :2] = boxes[: n_objects // 4, :2].round()
    kinds = torch.randint(3, (n_objects, 1), generator=generator).float()
    return {"batch_idx": torch.arange(n_objects) % 2.0, "cls": kinds, "bboxes": boxes.clamp(0, 1)}


def naive_matches(box: list[float], anchors: list[list[float]], height: int, width: int) -> list[tuple[int, int, int]]:
    """Return shape, x, y of each anchor that learns `box`, all in places."""
    x, y, w, h = box
    found = []
    for shape, (wide, high) in enumerate(anchors):
        if max(w / wide, wide / w, h / high, high / h) >= 4:
            continue
        points = [(x, y)]
        if x - math.floor(x) < 0.5 and x > 1:
            points.append((x - 0.5, y))
        if y - math.floor(y) < 0.5 and y > 1:
            points.append((x, y - 0.5))
        if (width - x) - math.floor(width - x) < 0.5 and width - x > 1:
            points.append((x + 0.5, y))
        if (height - y) - math.floor(height - y) < 0.5 and height - y > 1:
            points.append((x, y + 0.5))
        found += [(shape, min(int(a), width - 1), min(int(b), height - 1)) for a, b in points]
    return found


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 999))
def test_anchors_are_matched_as_in_a_plain_loop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(5, 4, generator=generator) * torch.tensor([5.0, 7.0, 6.0, 6.0]) + 0.01
    anchors = torch.rand(3, 2, generator=generator) * 4 + 0.2
    found = match(boxes, anchors, size=(8, 6))
    pairs = zip(found.target.tolist(), found.shape.tolist(), *found.place.T.tolist(), strict=True)
    expected = [
        (target, *one)
        for target, box in enumerate(boxes.tolist())
        for one in naive_matches(box, anchors.tolist(), 8, 6)
    ]
    assert sorted(pairs) == sorted(expected)


def test_object_at_the_far_corner_is_learned_inside_the_map() -> None:
    found = match(torch.tensor([[6.0, 8.0, 2.0, 2.0]]), torch.tensor([[2.0, 2.0]]), size=(8, 6))
    assert found.place.tolist() == [[5, 7]] * 3  # outside by 0: its own, the left and the upper place are the last ones


def ciou(a: list[float], b: list[float]) -> float:
    """Return the complete IoU of two boxes, centre and size. Source: Zheng 2019 (arXiv:1911.08287), equation 10."""
    sides = [
        (min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2), max(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2)) for i in (0, 1)
    ]
    inter = math.prod(max(high - low, 0.0) for high, low in sides)
    iou = inter / (a[2] * a[3] + b[2] * b[3] - inter)
    hull = [
        max(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2) - min(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2) for i in (0, 1)
    ]
    distance = ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (hull[0] ** 2 + hull[1] ** 2)
    v = 4 / math.pi**2 * (math.atan(b[2] / b[3]) - math.atan(a[2] / a[3])) ** 2
    return iou - distance - v * v / (1 - iou + v + 1e-7)


def bce(logit: float, target: float) -> float:
    chance = 1 / (1 + math.exp(-logit))
    return -(target * math.log(chance) + (1 - target) * math.log(1 - chance))


def naive_loss(head: AnchorDetect, decoded: Tensor, raw: dict[str, Tensor], labels: dict[str, Tensor]) -> list[float]:
    """Return the loss of an image of 64 x 32 pixels as its definition reads, one number at a time."""
    start, totals = 0, [0.0, 0.0, 0.0]
    for level, stride in enumerate(STRIDES):
        height, width = HEIGHT // stride, WIDTH // stride
        boxes: list[float] = []
        kinds: list[float] = []
        learned: dict[tuple[int, int], float] = {}
        for image, kind, fractions in zip(labels["batch_idx"], labels["cls"], labels["bboxes"].tolist(), strict=True):
            pixels = [side * size for side, size in zip(fractions, (WIDTH, HEIGHT) * 2, strict=True)]
            places = [side / stride for side in pixels]
            for shape, x, y in naive_matches(places, head.anchors[level].tolist(), height, width):
                anchor = start + (shape * height + y) * width + x
                overlap = ciou(decoded[int(image), :4, anchor].tolist(), pixels)
                boxes.append(1 - overlap)
                key = int(image), anchor
                learned[key] = max(learned.get(key, 0), overlap)
                scores = raw["scores"][int(image), :, anchor].tolist()
                kinds += [bce(score, float(index == int(kind))) for index, score in enumerate(scores)]
        end = start + 2 * height * width
        objectness = [
            bce(raw["objectness"][image, 0, anchor].item(), learned.get((image, anchor), 0))
            for image in range(2)
            for anchor in range(start, end)
        ]
        start = end
        for index, part in enumerate((boxes, objectness, kinds)):
            totals[index] += sum(part) / max(len(part), 1)
    # two levels: 3 / 2; 3 classes of 80; 64 x 32 pixels of 640 x 640; the balance of two levels is even
    gains = (0.05 * 1.5, 1.5 * 64 * 32 / 640**2, 0.5 * 1.5 * 3 / 80)
    return [gain * total for gain, total in zip(gains, totals, strict=True)]


@pytest.mark.parametrize("n_objects", [0, 1, 12])
def test_loss_is_that_of_the_definition(n_objects: int) -> None:
    one = head().double()
    outputs = one([level.double() for level in maps(2)])
    labels = {name: value.double() for name, value in batch(n_objects).items()}
    loss, items = AnchorLoss(one)(outputs, labels)
    assert items.tolist() == pytest.approx(naive_loss(one, outputs[0], outputs[1], labels), rel=1e-5)
    assert loss.tolist() == pytest.approx((2 * items).tolist())  # of two images
    assert not items.requires_grad


def test_order_of_the_objects_does_not_matter() -> None:
    labels = batch(40)
    backwards = {name: value.flip(0) for name, value in labels.items()}
    criterion = AnchorLoss(head())
    assert torch.allclose(criterion(head()(maps()), labels)[1], criterion(head()(maps()), backwards)[1])


def test_gradient_is_finite_and_training_brings_the_loss_down() -> None:
    one, labels = head().train(), batch(4)
    inputs = [level.requires_grad_() for level in maps()]  # free features: what is learned is the head and its inputs
    optimizer = torch.optim.Adam([*one.parameters(), *inputs], lr=0.1)
    losses = []
    for _ in range(60):
        loss = AnchorLoss(one)(one(inputs), labels)[0].sum()
        optimizer.zero_grad()
        loss.backward()
        assert all(value.grad is not None and value.grad.isfinite().all() for value in (*one.parameters(), *inputs))
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_image_size_and_number_of_levels_scale_as_published() -> None:
    """One more level of the same outputs: the box loss's gain falls from 3 / 2 to 3 / 3."""
    torch.manual_seed(0)
    wide = AnchorDetect(3, (*ANCHORS, (1000, 1000, 1000, 1000)), (3, 4, 2))  # no object fits the third
    wide.load_state_dict({**wide.state_dict(), **{k: v for k, v in head().state_dict().items() if k[0] == "m"}})
    wide.set_strides_((*STRIDES, 32))
    more = [*maps(), torch.zeros(2, 2, 2, 1)]
    two = AnchorLoss(head())(head()(maps()), batch(6))[1]
    three = AnchorLoss(wide)(wide.eval()(more), batch(6))[1]
    assert three[0].item() == pytest.approx(two[0].item() * 2 / 3, rel=1e-5)
