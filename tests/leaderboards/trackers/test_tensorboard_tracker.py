from pathlib import Path

import pytest

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from leaderboards.trackers.tensorboard_tracker import FOLDER
from tests.contracts import Kept, TrackerContract


class TestTensorboard(TrackerContract):
    name = "tensorboard"

    def read(self, folder: Path) -> Kept:
        found = EventAccumulator(str(folder / FOLDER))
        found.Reload()
        numbers = {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
        texts = {
            tag.removesuffix("/text_summary"): found.Tensors(tag)[-1].tensor_proto.string_val[0].decode()
            for tag in found.Tags()["tensors"]
        }
        rows = [line.strip("| ").split(" | ") for line in texts.pop("settings").splitlines()[2:]]
        settings = {name: "".join(value).replace(r"\|", "|") for name, *value in rows}
        return Kept(settings, numbers, texts, None)
