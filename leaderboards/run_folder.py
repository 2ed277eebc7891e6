"""What lies in a run folder, and how it is read back."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from leaderboards.entry import Entry
from leaderboards.leaderboard import Leaderboard
from leaderboards.run_path import JOURNAL
from leaderboards.run_records import CLOCK, ENTRY, SPACE, check_records, notes_on
from leaderboards.wording import one_line
from search.journal import Journal
from search.replay import Replay
from spaces.errors import BadInput

RECIPE = "recipe.yaml"
MOST_CHARACTERS = 1_000_000  # of a recipe
MODELS = "models"  # a folder for each row
TALLY = "detections.npz"  # which of them are right, image by image: intervals of mAP are made from it
NO_PT = 'no model.pt (Ultralytics has no class for this kind of network; `YOLO("model.onnx")` predicts)'


def read_run(folder: Path, /) -> tuple[Replay, Mapping[str, object]]:
    """Return the journal and the recipe of the run in `folder`.

    Raises:
        BadInput: it holds no run, or a file of it is not what this version writes; the message names it.
    """
    journal = Journal.read(folder / JOURNAL)
    check_records(journal)
    return journal, _recipe(folder / RECIPE)


def read_board(journal: Replay, folder: Path, /) -> Leaderboard:
    """Return the leaderboard that `journal`, whose records were checked, tells of.

    Raises:
        BadInput: no row is finished yet, or the lines of the limits or of the parent are lost.
    """
    entries = [Entry.from_json(record) for record in journal.records(ENTRY)]
    if not entries:
        raise BadInput(f"{str(folder)!r} has no finished rows yet; run the same command again to go on")
    limits: dict[str, float] = dict(_space(journal)["limits"])  # type: ignore[call-overload]  # as was checked
    if "macs_g" in limits:  # the tables speak of GFLOPs
        limits = {"gflops": 2 * limits["macs_g"], **{name: limits[name] for name in limits if name != "macs_g"}}
    try:
        return Leaderboard(entries, limits, is_labelled=bool(_space(journal).get("is_labelled", True)))
    except BadInput as error:
        raise BadInput(f"{journal.path}: {error}; {_cure(journal)}") from error


def _space(journal: Replay) -> Mapping[str, object]:
    if not (spaces := journal.records(SPACE)):
        raise BadInput(f"{journal.path}: no line tells of the limits; {_cure(journal)}")
    return spaces[0]


def _cure(journal: Replay) -> str:
    return " ".join([*notes_on(journal), "Run the same command again to go on"])


def _recipe(path: Path) -> Mapping[str, object]:
    """Return the settings in the file at `path`; one line of YAML for each, as this program writes them."""
    cure = "run the same command again, which writes it anew"
    try:
        text = path.read_bytes().decode("utf-8-sig")
        recipe = yaml.safe_load(text) if len(text) <= MOST_CHARACTERS else None
    except OSError as error:
        raise BadInput(f"{str(path)!r} cannot be read, {error.strerror}; {cure}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"{str(path)!r} is no YAML: {one_line(str(error), width=120)}; {cure}") from error
    if not isinstance(recipe, dict) or not all(isinstance(key, str) for key in recipe):
        raise BadInput(f"{str(path)!r} must map keys to values; {cure}")
    return recipe


def lacks_pt(models: Path) -> bool:
    """Return whether a row's folder has every file but model.pt, which cannot be written for every network."""
    return (models / "model.onnx").exists() and not (models / "model.pt").exists()


def seconds_of(journal: Replay, /) -> dict[int, float]:
    """Return when each result of the run was there, by its number; a run of an earlier version tells of none."""
    return {int(str(record["number"])): float(str(record["seconds"])) for record in journal.records(CLOCK)}
