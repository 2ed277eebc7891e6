"""Image files turned into pixels, the same that Ultralytics trains on, and those that cannot be.

What OpenCV cannot decode Pillow does, by the one class of its format: a foreign file never chooses the decoder.
"""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.AvifImagePlugin import AvifImageFile
from ultralytics.utils.patches import imread

from spaces.errors import BadInput

HEIF = (".heic", ".heif")
_PILLOW = (".avif", *HEIF)
_MAX_DECODED = 2000  # a millisecond each; of more files only the signature is looked at
_FAULTS = (  # of decoders before what they were not made for
    cv2.error,
    Image.DecompressionBombError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    SyntaxError,
    RuntimeError,
    EOFError,
    MemoryError,
)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return the image at `path` as uint8 (H, W, 3), BGR, turned as its EXIF data says.

    Raises:
        BadInput: it cannot be decoded.
    """
    try:
        image = _pillow(path) if path.suffix.lower() in _PILLOW else imread(str(path))
    except _FAULTS:
        image = None
    if image is None or not image.size:
        raise BadInput(f"{path}: not a readable image")
    return np.asarray(image, np.uint8)


def find_unreadable(images: Sequence[Path]) -> tuple[Path, ...]:
    """Return those of `images` that are empty or no images; in up to 2,000 files also those that are cut short."""
    is_readable = _decodes if len(images) <= _MAX_DECODED else _has_signature
    with ThreadPoolExecutor() as pool:
        return tuple(image for image, good in zip(images, pool.map(is_readable, images), strict=True) if not good)


def _pillow(path: Path) -> NDArray[np.uint8]:
    content = io.BytesIO(path.read_bytes())
    if path.suffix.lower() in HEIF:
        if find_spec("pi_heif") is None:
            raise ValueError("HEIC needs the package pi-heif")
        from pi_heif import open_heif  # type: ignore[import-not-found]  # an extra that few need

        opened = open_heif(content).to_pillow()
    else:
        opened = AvifImageFile(content)
    with ImageOps.exif_transpose(opened) as upright:
        return np.asarray(cv2.cvtColor(np.asarray(upright.convert("RGB")), cv2.COLOR_RGB2BGR), np.uint8)


def _decodes(image: Path) -> bool:
    try:
        content = np.fromfile(image, np.uint8)
        if content.size and cv2.imdecode(content, cv2.IMREAD_REDUCED_GRAYSCALE_8) is not None:
            return True
    except _FAULTS:  # more pixels than OpenCV is willing to decode, or a file that may not be read
        return False
    return content.size > 0 and _is_read(image)


def _has_signature(image: Path) -> bool:
    return bool(cv2.haveImageReader(str(image))) or _is_read(image)


def _is_read(image: Path) -> bool:
    try:
        read_image(image)
    except BadInput:
        return False
    return True
