"""Weights & Biases: offline in the run folder, unless WANDB_MODE asks for more."""

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import wandb

from leaderboards.trackers.kept_id import keep_id, read_id
from leaderboards.trackers.recorder import Recorder
from leaderboards.trackers.tracker import RunFacts
from leaderboards.watcher import Watcher

PROJECT = "yolo-budget-search"
KEPT = "wandb.json"
TIMEOUT = 10.0
"""Seconds for a server to answer at the start and to take everything at the end: wandb makes even an exit wait."""


class WandbStore:
    """One run of Weights & Biases."""

    def __init__(self, run: wandb.Run, /) -> None:
        self._run, self._groups = run, set[str]()

    def write_settings(self, settings: Mapping[str, object], /) -> None:
        """Write them as the run's config."""
        self._run.config.update(dict(settings), allow_val_change=True)

    def write_numbers(self, group: str, numbers: Mapping[str, float], /, *, step: int | None) -> None:
        """Write them to the group's history, each of which has its own steps, or final ones to the summary."""
        named = {f"{group}/{name}": value for name, value in numbers.items()}
        if step is None:
            self._run.summary.update(named)
            return
        axis = f"{group}/step"
        if group not in self._groups:
            self._groups.add(group)
            self._run.define_metric(axis, hidden=True)
            self._run.define_metric(f"{group}/*", step_metric=axis)
        self._run.log({axis: step, **named})

    def write_text(self, name: str, text: str, /) -> None:
        """Write it to the summary."""
        self._run.summary[name] = text

    def finish(self, files: Sequence[Path], /) -> None:
        """Write the files as one artifact and end the run."""
        artifact = wandb.Artifact(f"leaderboard-{self._run.id}", type="leaderboard")
        for path in files:  # read where they lie: a copy would go to the user's home
            artifact.add_file(str(path.resolve()), policy="immutable", skip_cache=True)
        self._run.log_artifact(artifact)
        self._run.finish()


def open_tracker(facts: RunFacts, /) -> Watcher:
    """Return what writes to the wandb run that the run folder keeps the id of, or to a new one."""
    run_id = read_id(facts.folder / KEPT) or secrets.token_hex(4)
    keep_id(facts.folder / KEPT, run_id)
    settings = wandb.Settings(
        silent=True, console="off", disable_git=True, init_timeout=TIMEOUT, finish_timeout=TIMEOUT
    )
    run = wandb.init(
        project=PROJECT,
        name=facts.name,
        id=run_id,
        resume="allow",
        reinit="create_new",
        dir=str(facts.folder),
        mode=os.environ.get("WANDB_MODE", "offline"),
        settings=settings,
    )
    return Recorder(WandbStore(run), facts)
