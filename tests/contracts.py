"""What every implementation of a Protocol has to do; its tests subclass the contract and make one."""

import copy
import io
import re
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from evaluators.result import Job, Result, Status
from evaluators.runtimes.precision import Int8, Precision
from evaluators.runtimes.runtime import Exported, Images, Runtime
from leaderboards.files.export import compare
from leaderboards.trackers.tracker import follow
from search.executor import Executor
from search.loop import rng_for
from search.strategy import Strategy
from spaces.candidate import Candidate
from spaces.errors import BadInput, OutOfReach
from spaces.searchable import BaseSpace, SearchSpace
from tests.leaderboards.trackers.play import RESUMED, SMALL, facts, play_second_call
from tests.spaces.untrained import detector


class SpaceContract(ABC):
    """For spaces that are searched: of one base, which say what moves to another, or of several."""

    limited: tuple[str, ...] = ("macs_g", "params_m")
    """The costs that are limited, one at a time and all at once."""

    @abstractmethod
    def make(self) -> SearchSpace: ...

    @abstractmethod
    def bases(self) -> Mapping[str, BaseSpace]:
        """Return the spaces of the bases that candidates have, by name."""

    @abstractmethod
    def costs(self, candidate: Candidate) -> Mapping[str, float]:
        """Return what `candidate` costs; raises if a pick is not of the space."""

    @abstractmethod
    def reach(self) -> Mapping[str, tuple[float, float]]:
        """Return the smallest value of each cost of any candidate, and the parent's; every base gets close to it."""

    def limits(self, share: float, *names: str) -> dict[str, float]:
        """Return limits on `names`, or on all that are limited, at `share` of the way through the reach."""
        ends = {name: self.reach()[name] for name in names or self.limited}
        return {name: low + share * (high - low) for name, (low, high) in ends.items()}

    def children(self, seed: int, limits: Mapping[str, float]) -> list[Candidate]:
        """Return a draw, a mutant, a crossing and a filled candidate within `limits`, of parents that are wider."""
        space, rng = self.make(), np.random.default_rng(seed)
        first, second = (space.sample(rng, limits=self.limits(0.95)) for _ in range(2))
        return [
            space.sample(rng, limits=limits),
            space.mutate(first, rng, limits=limits),
            space.cross(first, second, rng, limits=limits),
            space.fill(second, rng, limits=limits),
        ]

    @pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
    def test_draws_mutants_crossings_and_what_is_filled_meet_the_limits(self, share: float) -> None:
        asked = [self.limits(share), *(self.limits(share, name) for name in self.limited)]
        for limits in asked:
            self.make().check(limits)
            for child in (child for seed in range(3) for child in self.children(seed, limits)):
                costs = self.costs(child)
                assert all(costs[name] <= limit for name, limit in limits.items())

    def test_the_same_rng_gives_the_same_and_another_one_others(self) -> None:
        one, same, *others = (self.children(seed, self.limits(0.5)) for seed in (0, 0, *range(1, 8)))
        assert one == same
        assert any(other != one for other in others)

    def test_below_the_reach_nothing_is_drawn(self) -> None:
        for name in self.limited:
            low, _ = self.reach()[name]
            self.make().check({name: low})
            for below in ({name: 0.99 * low}, {**self.limits(0.9), name: 0.99 * low}):
                with pytest.raises(OutOfReach, match=name):
                    self.make().check(below)
                with pytest.raises(OutOfReach, match=name):
                    self.make().sample(np.random.default_rng(0), limits=below)

    def test_what_a_base_adopts_keeps_its_shares(self) -> None:
        for child in (child for seed in range(3) for child in self.children(seed, self.limits(0.5))):
            base = self.bases()[child.base]
            shares = base.shares(child)
            assert set(shares) == {gene.name for gene in base.genes}
            assert all(round(shares[gene.name] * gene.size) in gene.options for gene in base.genes)
            adopted = base.adopt(shares)
            assert adopted.base == child.base
            assert base.shares(adopted) == shares
            assert set(base.shares(base.adopt({})).values()) == {1.0}


class StrategyContract(ABC):
    """For strategies over the toy space with macs_g <= 20; `measure` gives their results."""

    @abstractmethod
    def make(self) -> Strategy: ...

    @abstractmethod
    def measure(self, job: Job) -> Result: ...

    def play(self, n: int, seed: int = 0) -> list[Result]:
        strategy, results = self.make(), list[Result]()
        while len(results) < n:
            numbers = range(len(results), min(len(results) + strategy.generation, n))
            jobs = [Job(number, strategy.ask(rng_for(seed, number))) for number in numbers]
            strategy.tell(generation := [self.measure(job) for job in jobs])
            results += generation
        return results

    def test_same_seed_proposes_the_same(self) -> None:
        assert self.play(60) == self.play(60)

    def test_other_seed_proposes_others(self) -> None:
        assert self.play(20) != self.play(20, seed=1)

    def test_no_candidate_is_proposed_twice(self) -> None:
        assert len({result.candidate for result in self.play(60)}) == 60

    def test_proposals_are_inside_the_limits(self) -> None:
        assert all(result.readings["macs_g"] <= 20 for result in self.play(60))

    def test_generation_of_failures_is_survived(self) -> None:
        strategy = self.make()
        jobs = [Job(number, strategy.ask(rng_for(0, number))) for number in range(10)]
        strategy.tell([Result(*job, Status.FAILED, {}, 0.0, "E: no") for job in jobs])
        assert strategy.ask(rng_for(0, 10)) not in {job.candidate for job in jobs}


class ExecutorContract(ABC):
    """For executors whose measure returns DONE."""

    @abstractmethod
    def make(self) -> Executor: ...

    def test_every_job_gets_one_result(self) -> None:
        executor = self.make()
        jobs = [Job(number, Candidate("same", (("g0", number), ("g1", 1)))) for number in range(10)]
        try:
            for part in (jobs[:7], [], jobs[7:]):
                results = sorted(executor.run(part), key=lambda result: result.number)
                assert [(result.number, result.candidate) for result in results] == part
                assert all(result.status is Status.DONE for result in results)
        finally:
            executor.close()


class RuntimeContract(ABC):
    """For runtimes, on the tiny detector at 64 px."""

    @abstractmethod
    def make(self) -> Runtime: ...

    def images(self, n: int, *, seed: int = 0) -> Images:
        return np.random.default_rng(seed).random((n, 3, 64, 64), dtype=np.float32)

    def export(self, folder: Path) -> tuple[Exported, ...]:
        calibration = [self.images(2), self.images(2, seed=1)]
        return self.make().export(detector(), folder, imgsz=64, calibration=calibration, int8=Int8.PORTABLE)

    def test_it_has_a_name_a_version_and_precisions_of_which_the_exact_one_is_the_first(self) -> None:
        runtime = self.make()
        assert runtime.name.isidentifier()
        assert runtime.name == runtime.name.lower()
        assert any(letter.isdigit() for letter in runtime.version)
        assert runtime.precisions[0] is Precision.FP32
        assert len(set(runtime.precisions)) == len(runtime.precisions)

    def test_each_precision_gets_a_file_and_the_network_stays_as_it_was(self, tmp_path: Path) -> None:
        model, batch = detector(), torch.from_numpy(self.images(1))
        before, modules = copy.deepcopy(model.state_dict()), [type(module) for module in model.modules()]
        with torch.no_grad():
            expected = model(batch)
        files = self.export(tmp_path)
        assert tuple(file.precision for file in files) == self.make().precisions
        assert len({file.file for file in files}) == len(files)
        assert all((tmp_path / file.file).exists() for file in files)
        assert all(file.execution is None for file in files)  # it has no few bits
        assert [type(module) for module in model.modules()] == modules
        assert model.state_dict().keys() == before.keys()
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        with torch.no_grad():
            found = model(batch)
        assert len(found) == len(expected) == 2  # decoded and raw, not in export mode
        assert torch.equal(found[0], expected[0])

    def test_the_exact_file_computes_what_the_network_does(self, tmp_path: Path) -> None:
        exact, *_ = self.export(tmp_path)
        file = self.make().open(tmp_path / exact.file, threads=1)
        assert compare(detector(), file, self.images(2, seed=2)) <= 1e-3

    def test_every_file_opens_takes_images_one_by_one_and_can_be_timed(self, tmp_path: Path) -> None:
        batch = torch.from_numpy(self.images(3))
        for exported in self.export(tmp_path):
            file = self.make().open(tmp_path / exported.file, threads=1)
            outputs = file(batch)
            assert outputs.shape == (3, 4 + 10, 8 * 8 + 4 * 4 + 2 * 2)  # 10 classes; strides of 8, 16 and 32
            assert outputs.dtype == torch.float32
            assert torch.allclose(outputs[1:2], file(batch[1:2]), rtol=1e-4, atol=1e-4)
            call = file.bare_call()
            call()
            call()

    def test_a_missing_file_and_one_of_text_are_bad_input_in_one_line(self, tmp_path: Path) -> None:
        for exported in self.export(tmp_path):
            text = tmp_path / "text" / exported.file
            text.parent.mkdir(exist_ok=True)
            text.write_text("no model", encoding="utf-8")
            for path in (tmp_path / "nowhere" / exported.file, text):
                with pytest.raises(BadInput, match=re.escape(path.name)) as caught:
                    self.make().open(path, threads=1)
                assert "\n" not in str(caught.value)


class Kept(NamedTuple):
    """What a tracker's store holds of a run.

    Attributes:
        numbers: (step, value) pairs by name.
        files: None where the store takes none.
    """

    settings: Mapping[str, str]
    numbers: Mapping[str, Sequence[tuple[int, float]]]
    texts: Mapping[str, str]
    files: frozenset[str] | None


class TrackerContract(ABC):
    """For experiment trackers, followed as a run does it; `read` reads their store without them."""

    name: str

    @abstractmethod
    def read(self, folder: Path) -> Kept: ...

    @pytest.fixture(scope="class")
    @classmethod
    def played(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Return the folder of a run that was stopped and resumed, which the tracker followed in silence."""
        folder, said, printed = tmp_path_factory.mktemp(cls.name) / "my run", list[str](), io.StringIO()
        command = [sys.executable, "-m", "tests.leaderboards.trackers.play", cls.name, str(folder)]
        root = Path(__file__).parents[1]
        stopped = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
        assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "", "")
        with redirect_stdout(printed), redirect_stderr(printed):
            resumed = facts(folder, settings=RESUMED, n_failed=1)
            play_second_call(follow([cls.name], resumed, say=said.append, patience=120.0), folder)
        assert (said, printed.getvalue()) == ([], "")
        return folder

    def test_readings_of_candidates_epochs_and_rows_are_read_back_with_their_steps(self, played: Path) -> None:
        numbers = self.read(played).numbers
        expected = {
            "search/loss": [(0, 2.5), (2, 1.5)],
            "search/macs_g": [(0, 2.0), (2, 2.0)],
            "search/n_failed": [(1, 1.0), (3, 2.0)],
            f"{SMALL.id}/loss": [(1, 3.0), (2, 1.5)],
            f"rows/{SMALL.id}/size_mb": [(0, 5.0)],
            "rows/parent/map50_95": [(0, 0.5)],
            "best/map50_95": [(0, 0.4)],
        }
        found = {name: [(step, round(value, 6)) for step, value in numbers[name]] for name in expected}
        assert found == expected
        assert not any("bad" in name for name in numbers)

    def test_settings_and_texts_are_read_back(self, played: Path) -> None:
        kept = self.read(played)
        expected = {"weights": "my|model.pt", "bits": "8,4", "lr": "None"}
        assert {name: kept.settings[name] for name in expected} == expected
        assert kept.texts["stage"] == "fine-tuning 2 rows"
        assert kept.texts["best/row"] == SMALL.id
        assert kept.texts["rows/bad__row_/error"] == "RuntimeError: export broke"

    def test_the_files_of_the_leaderboard_are_kept_where_the_store_takes_files(self, played: Path) -> None:
        assert self.read(played).files in (None, {"leaderboard.csv", "report.html"})
