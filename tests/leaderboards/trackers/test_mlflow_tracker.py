import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

pytest.importorskip("mlflow")

from mlflow import MlflowClient

from leaderboards.trackers.kept_id import keep_id, read_id
from leaderboards.trackers.mlflow_tracker import EXPERIMENT, KEPT, open_tracker
from leaderboards.trackers.tracker import follow
from tests.contracts import Kept, TrackerContract
from tests.leaderboards.trackers.play import board, facts


def store_of(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


class TestMlflow(TrackerContract):
    name = "mlflow"

    def read(self, folder: Path) -> Kept:
        client = store_of(folder)
        (run,) = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
        assert run.info.run_name == folder.name
        assert run.info.status == "FINISHED"
        numbers = {
            name: [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        files = frozenset(file.path for file in client.list_artifacts(run.info.run_id))
        return Kept(run.data.params, numbers, run.data.tags, files)

    def test_everything_lies_in_the_run_folder_and_the_first_settings_stay(self, played: Path) -> None:
        names = {path.name for path in played.iterdir()}
        assert names == {"mlflow.db", "mlflow.json", "mlruns", "leaderboard.csv", "report.html"}
        assert self.read(played).settings["workers"] == "2"  # that of the first call: MLflow lets nobody change it

    def test_a_run_that_was_deleted_or_is_of_another_store_begins_anew(self, played: Path, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        shutil.copytree(played, folder)
        first, client = read_id(folder / KEPT), store_of(folder)
        keep_id(folder / KEPT, "0" * 32)
        open_tracker(facts(folder))
        second = read_id(folder / KEPT)
        client.delete_run(second)
        open_tracker(facts(folder))
        third = read_id(folder / KEPT)
        assert len({first, second, third}) == 3
        assert client.get_run(third).info.status == "RUNNING"


def test_the_server_of_the_environment_is_asked_and_the_run_goes_on_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(403)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        said: list[str] = []
        for watcher in follow(["mlflow"], facts(tmp_path), say=said.append, patience=60.0):
            watcher.on_end(board())
        server.shutdown()
    assert [path.partition("?")[0] for path in asked] == ["/api/2.0/mlflow/experiments/get-by-name"]
    (line,) = said
    assert line.startswith("track=mlflow: MlflowException: ")
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
