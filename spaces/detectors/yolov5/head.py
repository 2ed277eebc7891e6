"""The detection head of the original YOLOv5: boxes as offsets from anchors, and an objectness beside the classes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

N_BOX = 4

Raw = dict[str, Tensor | list[Tensor]]


class AnchorDetect(nn.Module):
    """Predicts, for each anchor shape at each place of each level, a box, an objectness and the classes.

    The anchors are numbered level by level, inside a level shape by shape, then row by row. `set_strides_` must be
    called once, after a forward pass in training mode has shown how large the maps are.

    Attributes:
        nc: the number of classes.
        nl: the number of levels.
        na: the number of anchor shapes of a level.
        no: the number of outputs for each anchor.
        stride: pixels of the image for one of each level.
        anchors: (nl, na, 2), width and height in units of the level's stride; in pixels before `set_strides_`.
        export: whether an evaluation returns the decoded boxes alone, as ONNX files do.

    Args:
        anchors: of each level the widths and heights in pixels, w, h, w, h, ...
        channels: of each level's map.
    """

    export = False
    anchors: Tensor

    def __init__(self, nc: int, anchors: Sequence[Sequence[float]], channels: Sequence[int]) -> None:
        super().__init__()
        self.nc, self.nl, self.na, self.no = nc, len(anchors), len(anchors[0]) // 2, nc + N_BOX + 1
        self.stride: tuple[int, ...] = (1,) * self.nl
        self.register_buffer("anchors", torch.tensor(anchors, dtype=torch.float32).view(self.nl, self.na, 2))
        self.m = nn.ModuleList(nn.Conv2d(n_channels, self.no * self.na, 1) for n_channels in channels)

    def set_strides_(self, strides: Sequence[int]) -> None:
        """Say how many pixels of the image each level's unit is; puts the anchors into these units."""
        self.stride = tuple(strides)
        self.anchors /= torch.tensor(strides, dtype=self.anchors.dtype, device=self.anchors.device).view(-1, 1, 1)

    def forward(self, maps: list[Tensor]) -> Tensor | Raw | tuple[Tensor, Raw]:
        """Return the raw outputs in training, else the decoded ones with the raw, or alone if `export`.

        Args:
            maps: of each level (B, C, H, W), from the finest to the coarsest.

        Returns:
            Raw: "boxes" (B, 4, A), "objectness" (B, 1, A), "scores" (B, nc, A), all before the sigmoid, and "feats",
            the maps. Decoded: (B, 4 + nc, A), centre x, centre y, width and height in pixels, then for each class
            the chance that an object of it is there.
        """
        outputs = torch.cat([self._level(layer, level) for layer, level in zip(self.m, maps, strict=True)], 2)
        boxes, objectness, scores = outputs.split((N_BOX, 1, self.nc), 1)
        raw: Raw = {"boxes": boxes, "objectness": objectness, "scores": scores, "feats": maps}
        if self.training:
            return raw
        chances = objectness.sigmoid() * scores.sigmoid()
        decoded = torch.cat([decode(boxes, *self.grid(maps)), chances], 1)
        return decoded if self.export else (decoded, raw)

    def grid(self, maps: Sequence[Tensor], /) -> tuple[Tensor, Tensor, Tensor]:
        """Return of each anchor of `maps` the corner of its place (2, A), its shape (2, A), and its stride (1, A).

        Corner and shape are in units of the stride, in the precision of the anchors, whatever that of the maps.
        """
        corners, shapes, strides = [], [], []
        for level, anchors, stride in zip(maps, self.anchors, self.stride, strict=True):
            height, width = (int(side) for side in level.shape[2:])
            y, x = (torch.arange(side, device=level.device, dtype=anchors.dtype) for side in (height, width))
            place = torch.stack([x.repeat(height), y.repeat_interleave(width)])  # (2, H * W)
            corners.append(place.repeat(1, self.na))
            shapes.append(anchors.transpose(0, 1).repeat_interleave(height * width, 1))
            strides.append(torch.full_like(corners[-1][:1], stride))
        return torch.cat(corners, 1), torch.cat(shapes, 1), torch.cat(strides, 1)

    def _level(self, layer: nn.Module, level: Tensor) -> Tensor:
        """Return the outputs at one level, (B, no, na * H * W)."""
        batch = level.shape[0]
        made: Tensor = layer(level)
        return made.view(batch, self.na, self.no, -1).transpose(1, 2).reshape(batch, self.no, -1)


def decode(boxes: Tensor, corners: Tensor, shapes: Tensor, strides: Tensor) -> Tensor:
    """Return raw `boxes` (B, 4, A) as centre x, centre y, width, height in pixels; see `AnchorDetect.grid`.

    A centre lies at most one place from the middle of its own place, a side is at most four times the anchor's.
    """
    spread = 2 * boxes.to(corners.dtype).sigmoid()
    centres, scales = spread.split(2, 1)
    return torch.cat([(centres - 0.5 + corners) * strides, scales.square() * shapes * strides], 1)
