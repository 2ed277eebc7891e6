"""MLflow: a run of the experiment "yolo-budget-search", in the run folder unless MLFLOW_TRACKING_URI names a server."""

import logging
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException

from leaderboards.trackers.kept_id import keep_id, read_id
from leaderboards.trackers.recorder import Recorder
from leaderboards.trackers.store import setting_text
from leaderboards.trackers.tracker import RunFacts
from leaderboards.watcher import Watcher

EXPERIMENT = "yolo-budget-search"
KEPT = "mlflow.json"
_CHATTY = ("mlflow", "alembic", "urllib3.connectionpool")  # migrations of a new store, retries at a silent server


class MlflowStore:
    """One run of MLflow."""

    def __init__(self, client: MlflowClient, run: Run, /) -> None:
        self._client, self._id, self._settings = client, run.info.run_id, frozenset(run.data.params)

    def write_settings(self, settings: Mapping[str, object], /) -> None:
        """Write those that the run has not: MLflow forbids to change one, as another number of workers would."""
        new = [Param(name, setting_text(value)) for name, value in settings.items() if name not in self._settings]
        self._client.log_batch(self._id, params=new)

    def write_numbers(self, group: str, numbers: Mapping[str, float], /, *, step: int | None) -> None:
        """Write them as metrics, final ones at step 0."""
        now = int(1000 * time.time())
        metrics = [Metric(f"{group}/{name}", value, now, step or 0) for name, value in numbers.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def write_text(self, name: str, text: str, /) -> None:
        """Write it as a tag."""
        self._client.set_tag(self._id, name, text)

    def finish(self, files: Sequence[Path], /) -> None:
        """Write the files as artifacts and say that the run is finished."""
        for path in files:
            self._client.log_artifact(self._id, str(path))
        self._client.set_terminated(self._id)


def open_tracker(facts: RunFacts, /) -> Watcher:
    """Return what writes to the MLflow run that the run folder keeps the id of, or to a new one."""
    _silence()
    server, folder = os.environ.get("MLFLOW_TRACKING_URI"), facts.folder.resolve()
    client = MlflowClient(server or f"sqlite:///{folder / 'mlflow.db'}")
    run = _known_run(client, folder)
    if run is None:
        experiment = _experiment(client, None if server else (folder / "mlruns").as_uri())
        run = client.create_run(experiment, run_name=facts.name)
        keep_id(folder / KEPT, run.info.run_id)
    return Recorder(MlflowStore(client, run), facts)


def _silence() -> None:
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # MLflow's tables with SQLAlchemy 2.1
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy", category=DeprecationWarning)


def _known_run(client: MlflowClient, folder: Path) -> Run | None:
    """Return the run whose id is kept, running again; None if there is none in this store, or it was deleted."""
    run_id = read_id(folder / KEPT)
    if run_id is None:
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    if run.info.lifecycle_stage != "active":
        return None
    client.update_run(run_id, status="RUNNING")
    return run


def _experiment(client: MlflowClient, artifacts: str | None) -> str:
    """Return the id of the experiment, which is made if there is none."""
    known = client.get_experiment_by_name(EXPERIMENT)
    made: str = client.create_experiment(EXPERIMENT, artifacts) if known is None else known.experiment_id
    return made
