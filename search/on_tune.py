"""Ray Tune, for what it is for: trainings placed on workers and tried again."""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ray import cloudpickle, tune
from ray.tune.error import TuneError
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback

from search.ray_session import check_alive, text_of
from spaces.errors import Interrupted
from spaces.files import RESUMED, tells_of_full_disk

Report = Callable[[Mapping[str, float]], None]
Task = Callable[[str, Report], None]


def run_trials(
    task: Task,
    names: Sequence[str],
    *,
    workers: int,
    storage: Path,
    on_report: Callable[[str, Mapping[str, float]], None],
    gpus: float = 0,
) -> dict[str, str]:
    """Return the error text of each name's trial, empty if all went well; one bad trial leaves the others alone.

    Args:
        task: called as `task(name, report)`; tried again once if it fails, to go on from its own checkpoint.
        names: what each trial is called, each once.
        workers: how many trials run at a time, each on one CPU.
        storage: a folder that all workers share, for Tune's files; its `tune` is emptied first.
        on_report: gets the name and the readings, in this process.
        gpus: of each trial.

    Raises:
        Interrupted: Ray is gone, or a disk is full, which is no fault of a trial's.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the errors are in what is returned
    shutil.rmtree(storage / "tune", ignore_errors=True)
    log = _Log(on_report)
    error = "CRASH: the trial did not end"
    for _ in range(2):  # a trial that runs out of memory ends the whole `fit`: the others get a second one
        if left := [name for name in names if name not in log.outcomes]:
            try:
                _tuner(task, left, log, workers=workers, storage=storage, gpus=gpus).fit()
            except (RuntimeError, OSError, EOFError, TuneError) as broken:
                error = text_of(broken)
    shutil.rmtree(storage / "tune", ignore_errors=True)
    return _checked({name: log.outcomes.get(name, error) for name in names})


def _checked(errors: dict[str, str]) -> dict[str, str]:
    if any(errors.values()):
        check_alive()
    if full := next((name for name, error in errors.items() if tells_of_full_disk(error)), None):
        raise Interrupted(f"disk full: {full}: {errors[full]}; make room: {RESUMED}")
    return errors


class _Log(TrialProgressCallback):  # type: ignore[misc]  # ray is untyped
    """Passes reports on and notes how each trial ended; in the place of the printer that Tune would add."""

    def __init__(self, on_report: Callable[[str, Mapping[str, float]], None]) -> None:
        self.outcomes: dict[str, str] = {}
        self._on_report = on_report

    def __getstate__(self) -> dict[str, object]:
        """Return nothing: Tune saves its callbacks, but what this one calls lives in this process only."""
        return {}

    def on_trial_result(self, *, trial: Trial, result: Mapping[str, Mapping[str, float]], **_: object) -> None:
        if "readings" in result:
            self._on_report(trial.config["name"], result["readings"])

    def on_trial_complete(self, *, trial: Trial, **_: object) -> None:
        self.outcomes[trial.config["name"]] = ""

    def on_trial_error(self, *, trial: Trial, **_: object) -> None:
        path = trial.pickled_error_file  # in this machine's session folder, written by Tune a moment ago
        self.outcomes[trial.config["name"]] = text_of(cloudpickle.loads(Path(path).read_bytes())) if path else "CRASH"


def _tuner(task: Task, names: list[str], log: _Log, *, workers: int, storage: Path, gpus: float) -> tune.Tuner:
    return tune.Tuner(
        tune.with_resources(tune.with_parameters(_trial, task=task), {"cpu": 1, "gpu": gpus}),
        param_space={"name": tune.grid_search(names)},
        tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=workers),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(storage.resolve()),
            failure_config=tune.FailureConfig(max_failures=1),
            callbacks=[log],
            verbose=0,
        ),
    )


def _trial(config: Mapping[str, str], task: Task) -> None:
    task(config["name"], lambda readings: tune.report({"readings": dict(readings)}))
