"""Image files of a split: found in folders and lists, and compared with those of another split."""

import codecs
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from evaluators.data.labels import label_path
from spaces.errors import BadInput

SUFFIXES = frozenset(  # those that Ultralytics reads
    {".avif", ".bmp", ".dng", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"}
)


class Found(NamedTuple):
    """What the sources of a split hold.

    Attributes:
        images: each once, in a fixed order.
        missing: what is listed or linked but not there, in words that name it.
        doubled: images that are there once more, under this spelling or another.
        others: labelled files of another suffix, and what else lists name.
    """

    images: tuple[Path, ...]
    missing: tuple[str, ...]
    doubled: tuple[Path, ...]
    others: tuple[Path, ...]


def find_images(sources: Sequence[Path], *, where: str) -> Found:
    """Return the images in `sources`, folders (with their subfolders, links followed once) or .txt lists.

    What begins with a dot is no part of a data set, nor is `__MACOSX`: notebooks leave `.ipynb_checkpoints`, macOS `._`
    files.

    Args:
        sources: existing folders and files.
        where: how messages begin: the file and the key that named the sources.

    Raises:
        BadInput: a source is neither, or there are no images at all.
    """
    images: dict[str, Path] = {}  # by where they really are
    doubled, missing, others = [], [], []
    for source in sources:
        if source.is_dir():
            files = sorted(_walk(source))
            named = [(path, str(path)) for path in files if _is_named_image(path)]
            others += _labelled(files)
        elif source.is_file() and not _is_named_image(source):
            entries = list(_listed(source))
            named = [(path, told) for path, told in entries if _is_named_image(path)]
            others += [path for path, _ in entries if not _is_named_image(path)]
        else:
            raise BadInput(f"{where} must be an existing folder of images or .txt list of images, got {str(source)!r}")
        for path, told in named:
            if not _is_there(path):
                missing.append(told)
            elif images.setdefault(os.path.realpath(path), path) is not path:
                doubled.append(path)
    if not images and missing:
        raise BadInput(f"{where}: none of {len(missing)} listed images is there, first {missing[0]}")
    if not images and others:
        raise BadInput(f"{where}: none of {len(others)} files or lines names an image by its suffix, first {others[0]}")
    if not images:
        raise BadInput(f"{where} has no images ({' '.join(sorted(SUFFIXES))}) in {[str(source) for source in sources]}")
    return Found(tuple(images.values()), tuple(missing), tuple(doubled), tuple(others))


def find_shared(images: Sequence[Path], others: Sequence[Path]) -> tuple[tuple[Path, Path], ...]:
    """Return (image, other) for each of `images` that has the same bytes as one of `others`."""
    sizes = {image: image.stat().st_size for image in (*images, *others)}
    suspects = {sizes[image] for image in images} & {sizes[other] for other in others}
    digests = {_digest(other): other for other in others if sizes[other] in suspects}
    pairs = ((image, digests.get(_digest(image))) for image in images if sizes[image] in suspects)
    return tuple((image, twin) for image, twin in pairs if twin is not None)


def _is_named_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below `folder`; of folders that links lead to twice or in a circle, the first way counts."""
    seen = {folder.resolve()}
    for here, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        parts = [name for name in folders if name[0] != "." and name != "__MACOSX"]
        ways = sorted((Path(here, name).is_symlink(), name) for name in parts)
        folders.clear()
        for _, name in ways:
            real = Path(here, name).resolve()
            if real not in seen:
                seen.add(real)
                folders.append(name)
        yield from (Path(here, name) for name in files if name[0] != ".")


def _raise(error: OSError) -> None:
    raise error


def _labelled(files: Sequence[Path]) -> list[Path]:
    """Return those of `files` that have labels but are no images by their suffix."""
    imaged = {path.with_suffix("") for path in files if _is_named_image(path)}
    odd = [path for path in files if not _is_named_image(path) and path.with_suffix("") not in imaged]
    return [path for path in odd if path.suffix != ".txt" and label_path(path).is_file()]


def _listed(listing: Path) -> Iterator[tuple[Path, str]]:
    """Yield what a .txt file lists, one a line, and where it says so.

    It is relative to the folder of the list, or else to the current one.
    """
    content = listing.read_bytes()
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    for number, line in enumerate(content.decode(encoding, errors="replace").splitlines(), 1):
        entry = line.strip().replace("\0", "")
        if entry:
            ways = [base / way for way in (entry, entry.replace("\\", "/")) for base in (listing.parent, Path.cwd())]
            yield next((way for way in ways if _is_there(way)), ways[0]), f"{listing}:{number}: {entry!r:.120}"


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _digest(image: Path) -> bytes:
    with image.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
