"""Whether a weights file is there, and of a kind that can be read at all."""

from pathlib import Path

from spaces.errors import BadInput

OWN_FILES = ("architecture.json", "model.safetensors")  # of a folder of ours


def check_weights_file(path: Path, /) -> None:
    """Make sure that `path` is there and may be a detector; nothing is opened.

    Raises:
        BadInput: it is missing, cannot be read, or is of another kind.
    """
    try:
        is_there = path.exists()
    except OSError as error:
        raise BadInput(f"weights: {str(path)[:60]!r}... cannot be read: {error.strerror}") from error
    if not is_there:
        raise BadInput(f"weights: {str(path)!r} not found (nothing is downloaded)")
    if not is_folder_of_ours(path) and path.suffix != ".pt":
        raise BadInput(f"weights: {str(path)!r} must be a .pt of Ultralytics or YOLOv5, or a folder of ours")


def is_folder_of_ours(path: Path, /) -> bool:
    """Return whether `path` is a folder, or a file of one that stands for it."""
    return path.is_dir() or path.name in OWN_FILES
