"""Attention of the accurate YOLOv5 structures: over channels and places (CBAM), and transformers inside a C3.

Source: Woo 2018, CBAM (arXiv:1807.06521); Zhu 2021, TPH-YOLOv5 (arXiv:2108.11539). Sizes are those of seed 002.
"""

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.conv import Conv

N_HEADS = 4


class CBAM(nn.Module):
    """Scales channels by what their means and maxima say, then places by the mean and maximum of their channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 16, 1)
        self.channels = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
        )
        self.places = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (B, C, H, W), scaled."""
        x = x * (self.channels(x.mean((2, 3), keepdim=True)) + self.channels(x.amax((2, 3), keepdim=True))).sigmoid()
        scale: Tensor = self.places(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1))
        return x * scale.sigmoid()


class TransformerLayer(nn.Module):
    """Self-attention and a two-layer perceptron, each normalised before and added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.q, self.k, self.v = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        self.attention = nn.MultiheadAttention(channels, N_HEADS, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 4 * channels, bias=False),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(4 * channels, channels, bias=False),
            nn.Dropout(0.1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return as `x`, (B, places, C)."""
        normed = self.norm1(x)
        x = x + self.attention(self.q(normed), self.k(normed), self.v(normed), need_weights=False)[0]
        added: Tensor = self.mlp(self.norm2(x))
        return x + added


class TransformerBlock(nn.Module):
    """Transformer layers over all places of a map; where a place lies is told by a learned linear layer."""

    def __init__(self, channels: int, n_layers: int) -> None:
        super().__init__()
        self.position = nn.Linear(channels, channels)
        self.layers = nn.Sequential(*(TransformerLayer(channels) for _ in range(n_layers)))

    def forward(self, x: Tensor) -> Tensor:
        """Return as `x`, (B, C, H, W)."""
        tokens = x.flatten(2).transpose(1, 2)  # (B, H * W, C)
        made: Tensor = self.layers(tokens + self.position(tokens))
        return made.transpose(1, 2).reshape(x.shape)


class SplitStage(nn.Module):
    """The frame of a C3: `inner` on one half of the channels, the other half beside it, joined by a 1x1."""

    def __init__(self, c_in: int, c_out: int, inner: nn.Module) -> None:
        super().__init__()
        self.cv1, self.cv2, self.cv3 = Conv(c_in, c_out // 2), Conv(c_in, c_out // 2), Conv(c_out // 2 * 2, c_out)
        self.m = inner

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, c_out, H, W)."""
        joined: Tensor = self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], 1))
        return joined


def c3tr(c_in: int, c_out: int, n_layers: int) -> SplitStage:
    """Return a C3 with transformer layers inside."""
    return SplitStage(c_in, c_out, TransformerBlock(c_out // 2, n_layers))
