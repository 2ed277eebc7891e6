"""Swin transformer layers inside a C3, on maps of any size: attention in windows that every other layer shifts.

Source: Liu 2021, Swin transformer (arXiv:2103.14030). Windows of 8, as in seed 002: sides are multiples of 32.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from spaces.detectors.yolov5.attention import SplitStage

WINDOW = 8
_APART = -100.0  # added to the attention between places that only the shift has brought together


class WindowAttention(nn.Module):
    """Self-attention among the places of each window, biased by how they lie to each other."""

    relative: Tensor

    def __init__(self, channels: int, *, shift: int) -> None:
        super().__init__()
        self.shift = shift
        wanted = max(channels // 32, 1)
        self.n_heads = max(n for n in range(1, wanted + 1) if channels % n == 0)
        self.qkv, self.project = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.bias = nn.Parameter(0.02 * torch.randn((2 * WINDOW - 1) ** 2, self.n_heads))
        side = torch.arange(WINDOW)
        y, x = side.repeat_interleave(WINDOW), side.repeat(WINDOW)
        offset = (y[:, None] - y + WINDOW - 1) * (2 * WINDOW - 1) + x[:, None] - x + WINDOW - 1
        self.register_buffer("relative", offset)  # (64, 64)

    def forward(self, x: Tensor) -> Tensor:
        """Return as `x`, (B, H, W, C); H and W are multiples of the window."""
        _, height, width, channels = x.shape
        qkv = self.qkv(x).roll((-self.shift, -self.shift), (1, 2))
        q, k, v = _windows(qkv).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)  # (B * n, heads, 64, c)
        bias = self.bias[self.relative].permute(2, 0, 1)  # (heads, 64, 64)
        if self.shift:
            apart = _apart(height, width, shift=self.shift, device=x.device)  # (n, 1, 64, 64)
            bias = (bias + apart.to(bias.dtype)).repeat(x.shape[0], 1, 1, 1)
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        rows = seen.transpose(1, 2).reshape(-1, height // WINDOW, width // WINDOW, WINDOW, WINDOW, channels)
        maps = rows.transpose(2, 3).reshape(-1, height, width, channels).roll((self.shift, self.shift), (1, 2))
        made: Tensor = self.project(maps)
        return made


class SwinLayer(nn.Module):
    """Window attention and a two-layer perceptron, each normalised before and added to its input."""

    def __init__(self, channels: int, *, shift: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, shift=shift)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return as `x`, (B, H, W, C)."""
        height, width = x.shape[1:3]
        padded = functional.pad(self.norm1(x), (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        x = x + self.attention(padded)[:, :height, :width]
        added: Tensor = self.mlp(self.norm2(x))
        return x + added


class SwinBlock(nn.Module):
    """Swin layers; every other one shifts its windows by half their size."""

    def __init__(self, channels: int, n_layers: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(SwinLayer(channels, shift=i % 2 * WINDOW // 2) for i in range(n_layers)))

    def forward(self, x: Tensor) -> Tensor:
        """Return as `x`, (B, C, H, W)."""
        made: Tensor = self.layers(x.permute(0, 2, 3, 1))
        return made.permute(0, 3, 1, 2)


def c3str(c_in: int, c_out: int, n_layers: int) -> SplitStage:
    """Return a C3 with Swin layers inside."""
    return SplitStage(c_in, c_out, SwinBlock(c_out // 2, n_layers))


def _windows(maps: Tensor) -> Tensor:
    """Return `maps` (B, H, W, C) as (B * windows, 64, C), row by row."""
    batch, height, width, channels = maps.shape
    tiles = maps.view(batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels)
    return tiles.transpose(2, 3).reshape(-1, WINDOW * WINDOW, channels)


def _apart(height: int, width: int, *, shift: int, device: torch.device) -> Tensor:
    """Return what to add where two places of a shifted window are not neighbours, (windows, 1, 64, 64)."""
    y, x = (
        (side >= len(side) - WINDOW).long() + (side >= len(side) - shift)
        for side in (torch.arange(n, device=device) for n in (height, width))
    )
    region = _windows((3 * y[:, None] + x)[None, :, :, None]).squeeze(2)  # (windows, 64)
    return _APART * (region[:, None, :, None] != region[:, None, None, :])
