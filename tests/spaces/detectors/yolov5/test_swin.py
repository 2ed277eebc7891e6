import pytest
import torch

from spaces.detectors.yolov5.swin import WINDOW, SwinBlock, WindowAttention, c3str


def reached(attention: WindowAttention, y: int, x: int, *, side: int) -> set[tuple[int, int]]:
    """Return the places whose output depends on the input at (y, x)."""
    maps = torch.rand(1, side, side, attention.project.in_features, requires_grad=True)
    outputs = attention(maps).sum(3)[0]
    found = set()
    for place in [(row, column) for row in range(0, side, 2) for column in range(0, side, 2)]:
        (slope,) = torch.autograd.grad(outputs[place], maps, retain_graph=True)
        if slope[0, y, x].abs().sum() > 1e-20:  # exp(-100) is 4e-44
            found.add(place)
    return found


@pytest.mark.parametrize(
    ("shift", "y", "x", "rows", "columns"),
    [
        (0, 0, 0, range(8), range(8)),
        (0, 9, 2, range(8, 16), range(8)),
        (4, 5, 9, range(4, 12), range(4, 12)),  # the windows start at 4
        (4, 0, 5, range(4), range(4, 12)),  # what the shift wraps around is no neighbour
        (4, 15, 15, range(12, 16), range(12, 16)),
    ],
)
def test_a_place_is_seen_by_its_window_and_by_no_other(shift: int, y: int, x: int, rows: range, columns: range) -> None:
    torch.manual_seed(0)
    attention = WindowAttention(8, shift=shift)
    expected = {(row, column) for row in rows[::2] for column in columns[::2]}
    assert reached(attention, y, x, side=2 * WINDOW) == expected


def test_window_attention_is_what_a_loop_computes() -> None:
    """softmax(q k' / sqrt(d) + bias of the offset) v, place by place, of the one window of an image."""
    torch.manual_seed(0)
    attention = WindowAttention(64, shift=0)
    maps = torch.randn(1, WINDOW, WINDOW, 64)
    q, k, v = attention.qkv(maps)[0].split(64, 2)
    heads = []
    for head, (qs, ks, vs) in enumerate(zip(q.split(32, 2), k.split(32, 2), v.split(32, 2), strict=True)):
        y0, x0 = 2, 5  # one place is enough
        scores = torch.stack(
            [
                qs[y0, x0] @ ks[y, x] / 32**0.5 + attention.bias[(y0 - y + 7) * 15 + x0 - x + 7, head]
                for y in range(WINDOW)
                for x in range(WINDOW)
            ]
        )
        heads.append(scores.softmax(0) @ vs.reshape(-1, 32))
    expected = attention.project(torch.cat(heads))
    assert torch.allclose(attention(maps)[0, 2, 5], expected, atol=1e-5)


def test_windows_are_shifted_in_every_other_layer() -> None:
    assert [layer.shift for layer in SwinBlock(8, 3).modules() if isinstance(layer, WindowAttention)] == [0, 4, 0]


@pytest.mark.parametrize(("channels", "n_heads"), [(640, 20), (64, 2), (48, 1), (112, 2), (8, 1)])
def test_a_head_has_32_channels_or_the_next_more_that_divide(channels: int, n_heads: int) -> None:
    assert WindowAttention(channels, shift=0).n_heads == n_heads


@pytest.mark.parametrize("size", [(2, 2), (5, 9), (16, 8)])
def test_maps_of_any_size_keep_it_and_images_of_a_batch_do_not_mix(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    stage = c3str(8, 16, 2).eval()
    maps = torch.randn(2, 8, *size)
    with torch.no_grad():
        both, alone = stage(maps), stage(maps[1:])
    assert both.shape == (2, 16, *size)
    assert torch.allclose(both[1:], alone, atol=1e-5)
