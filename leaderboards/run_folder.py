"""What lies in a run folder, and how it is read back."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from leaderboards.entry import Entry
from leaderboards.leaderboard import Leaderboard
from search.journal import Journal, Replay
from spaces.errors import BadInput

SPACE = "space"
BASE = "base"
CLOCK = "clock"
MODELS = "models"  # a folder for each row
TALLY = "detections.npz"  # which of them are right, image by image: intervals of mAP are made from it
NO_PT = 'no model.pt (Ultralytics has no class for this kind of network; `YOLO("model.onnx")` predicts)'


def read_run(folder: Path, /) -> tuple[Replay, Mapping[str, object]]:
    """Return the journal and the recipe of the run in `folder`.

    Raises:
        BadInput: it holds no run.
    """
    journal = Journal.read(folder / "journal.jsonl")
    if not (folder / "recipe.yaml").is_file():
        raise BadInput(f"{str(folder)!r} has no recipe.yaml")
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    return journal, recipe


def read_board(journal: Replay, folder: Path, /) -> Leaderboard:
    """Return the leaderboard that `journal` tells of.

    Raises:
        BadInput: no row is finished yet.
    """
    entries = [Entry.from_json({k: v for k, v in record.items() if k != "kind"}) for record in journal.records("entry")]
    if not entries:
        raise BadInput(f"{str(folder)!r} has no finished rows yet; run the same command again to go on")
    limits = journal.records(SPACE)[0]["limits"]
    assert isinstance(limits, dict)
    if "macs_g" in limits:  # the tables speak of GFLOPs
        limits = {"gflops": 2 * limits["macs_g"], **{name: limits[name] for name in limits if name != "macs_g"}}
    return Leaderboard(entries, limits)


def lacks_pt(models: Path) -> bool:
    """Return whether a row's folder has every file but model.pt, which cannot be written for every network."""
    return (models / "model.onnx").exists() and not (models / "model.pt").exists()


def seconds_of(journal: Replay, /) -> dict[int, float]:
    """Return when each result of the run was there, by its number; a run of an earlier version tells of none."""
    return {int(str(record["number"])): float(str(record["seconds"])) for record in journal.records(CLOCK)}
