"""Image files of a split: found, checked for being readable, and compared with those of another split."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from spaces.errors import BadInput

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_MAX_DECODED = 2000  # a millisecond each; of more files only the signature is looked at


def find_images(sources: Sequence[Path], *, where: str) -> tuple[Path, ...]:
    """Return the images in `sources`, folders (with their subfolders) or .txt lists, each once, in a fixed order.

    Args:
        sources: existing folders and files.
        where: how messages begin: the file and the key that named the sources.

    Raises:
        BadInput: a source is neither, a listed file is no image, or there are no images at all.
    """
    found: dict[Path, None] = {}
    for source in sources:
        if source.is_dir():
            entries = sorted(entry for entry in source.rglob("*") if _is_image(entry))
        elif source.is_file() and source.suffix == ".txt":
            entries = _listed(source)
        else:
            raise BadInput(f"{where} must be an existing folder of images or .txt list of images, got {str(source)!r}")
        found.update(dict.fromkeys(entries))
    if not found:
        raise BadInput(f"{where} has no images ({' '.join(sorted(SUFFIXES))}) in {[str(source) for source in sources]}")
    return tuple(found)


def find_unreadable(images: Sequence[Path]) -> tuple[Path, ...]:
    """Return those of `images` that are empty or no images; in up to 2,000 files also those that are cut short."""
    is_readable = _decodes if len(images) <= _MAX_DECODED else _has_signature
    with ThreadPoolExecutor() as pool:
        return tuple(image for image, good in zip(images, pool.map(is_readable, images), strict=True) if not good)


def find_shared(train: Sequence[Path], val: Sequence[Path]) -> tuple[tuple[Path, Path], ...]:
    """Return (val image, train image) for each image of `val` that has the same bytes as one of `train`."""
    sizes = {image: image.stat().st_size for image in (*train, *val)}
    suspects = {sizes[image] for image in train} & {sizes[image] for image in val}
    digests = {_digest(image): image for image in train if sizes[image] in suspects}
    pairs = ((image, digests.get(_digest(image))) for image in val if sizes[image] in suspects)
    return tuple((image, other) for image, other in pairs if other is not None)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _listed(listing: Path) -> list[Path]:
    """Return the images that a .txt file lists, one a line, relative to its own folder."""
    entries = []
    for number, line in enumerate(listing.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        entry = listing.parent / line.strip()
        if line.strip() and not _is_image(entry):
            raise BadInput(
                f"{listing}:{number}: must be an image file ({' '.join(sorted(SUFFIXES))}), got {line!r:.120}"
            )
        entries += [entry] if line.strip() else []
    return entries


def _decodes(image: Path) -> bool:
    content = np.fromfile(image, np.uint8)
    try:
        return content.size > 0 and cv2.imdecode(content, cv2.IMREAD_REDUCED_GRAYSCALE_8) is not None
    except cv2.error:  # more pixels than OpenCV is willing to decode
        return False


def _has_signature(image: Path) -> bool:
    return bool(cv2.haveImageReader(str(image)))


def _digest(image: Path) -> bytes:
    with image.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
