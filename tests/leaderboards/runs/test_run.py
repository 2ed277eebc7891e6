from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evaluators.metric import MACS, MAP, PARAMS
from evaluators.result import Result, Status
from leaderboards.recipes.parts import Parts
from leaderboards.recipes.recipe import Recipe
from leaderboards.runs.problem import Problem
from leaderboards.runs.run import _identity, _settle, check_folder, known_results, missing_images, pick_front, run
from leaderboards.watcher import Watcher
from search.journal import Journal
from search.pareto import is_front, losses
from spaces.candidate import Candidate
from spaces.errors import BadInput
from tests.leaderboards.runs.test_prepare import device_file

OBJECTIVES = (MAP, MACS, PARAMS)
levels = st.integers(0, 3).map(float)
rows = st.lists(st.tuples(levels, levels, levels, st.sampled_from(Status)), max_size=12)


def results_of(given_rows: list[tuple[float, float, float, Status]]) -> list[Result]:
    return [
        Result(
            number,
            Candidate("same", (("g", number),)),
            status,
            {"map50_95": score, "macs_g": macs, "params_m": params},
            0.1,
        )
        for number, (score, macs, params, status) in enumerate(given_rows)
    ]


@given(rows, st.integers(1, 6))
def test_what_is_picked_is_done_distinct_and_as_many_as_asked_for_where_there_are(
    given_rows: list[tuple[float, float, float, Status]], n: int
) -> None:
    results = results_of(given_rows)
    done = [result for result in results if result.status is Status.DONE]
    picked = pick_front(results, OBJECTIVES, n)
    assert all(result in done for result in picked)
    assert len({result.candidate.id for result in picked}) == len(picked) == min(n, len(done))


@example([(3.0, 1.0, 2.0, Status.DONE), (3.0, 1.0, 1.0, Status.DONE)], 1)  # they differ in the last objective alone
@given(rows.filter(lambda given_rows: any(row[3] is Status.DONE for row in given_rows)), st.integers(1, 6))
def test_the_best_by_proxy_comes_first_and_nothing_dominates_it(
    given_rows: list[tuple[float, float, float, Status]], n: int
) -> None:
    done = [result for result in results_of(given_rows) if result.status is Status.DONE]
    first = pick_front(done, OBJECTIVES, n)[0]
    assert first.readings["map50_95"] == max(result.readings["map50_95"] for result in done)
    assert is_front(losses(done, OBJECTIVES))[done.index(first)]


@given(rows, st.integers(1, 6))
def test_no_second_front_is_begun_before_the_first_is_used_up(
    given_rows: list[tuple[float, float, float, Status]], n: int
) -> None:
    done = [result for result in results_of(given_rows) if result.status is Status.DONE]
    flags = is_front(losses(done, OBJECTIVES))
    front = {result.candidate.id for result, flag in zip(done, flags, strict=True) if flag}
    picked = {result.candidate.id for result in pick_front(done, OBJECTIVES, n)}
    assert picked <= front or front <= picked


def test_nothing_done_is_nothing_picked() -> None:
    assert pick_front(results_of([(1.0, 1.0, 1.0, Status.FAILED)]), OBJECTIVES, 3) == []


def test_known_results_are_those_of_the_journal_and_none_where_there_is_no_run(tmp_path: Path) -> None:
    assert known_results(tmp_path) == []
    results = results_of([(0.5, 1.0, 1.0, Status.DONE), (0.0, 2.0, 1.0, Status.OVER_BUDGET)])
    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        for result in results:
            journal.append_result(result)
    assert known_results(tmp_path) == results


def test_fewer_images_than_asked_for_are_said(problem: Problem) -> None:
    assert missing_images(problem.inputs, 3, 5) == [  # of 4 in train, a third ranks
        "search_images=5 was asked for, train has 1 to give, which are used."
    ]
    assert missing_images(problem.inputs, 2, 1) == []


def test_a_resumed_run_keeps_the_limits_and_the_parents_latency_that_it_began_with(
    problem: Problem, tmp_path: Path
) -> None:
    first = replace(problem, limits={"latency_ms": 4.0}, parent_costs={**problem.parent_costs, "latency_ms": 8.0})
    again = replace(problem, limits={"latency_ms": 4.5}, parent_costs={**problem.parent_costs, "latency_ms": 9.0})
    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        _settle(first, journal, notes=[])
    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        settled = _settle(again, journal, notes=[])
    assert (settled.limits, settled.parent_costs) == (first.limits, first.parent_costs)


def test_a_run_of_before_its_costs_were_written_down_goes_on_with_those_of_now(
    problem: Problem, tmp_path: Path
) -> None:
    with Journal(tmp_path / "journal.jsonl", {}) as journal:
        journal.append("space", {"limits": {"macs_g": 1.0}, "blocks": [], "notes": []})
        settled = _settle(problem, journal, notes=[])
    assert (settled.limits, settled.parent_costs) == ({"macs_g": 1.0}, problem.parent_costs)


def test_a_device_file_is_part_of_a_run_by_its_content(recipe: Recipe, parts: Parts, problem: Problem) -> None:
    files = [device_file(problem, machine=machine) for machine in ("a toaster", "a toaster", "a kettle")]
    inputs = [replace(problem.inputs, device=each) for each in files]
    paths = [recipe.model_copy(update={"device_file": f"{place}.json"}).parts() for place in range(3)]
    same, moved, other = (_identity(path, each) for path, each in zip(paths, inputs, strict=True))
    assert same == moved != other
    assert _identity(parts, problem.inputs)["device_file"] is None


def test_pretrained_files_make_a_run_by_their_content_and_a_missing_one_writes_nothing(
    recipe: Recipe, problem: Problem, tmp_path: Path
) -> None:
    weights = tmp_path / "a.pth"
    words = {"backbone_weights": f"ghostnet:{weights}", "out": str(tmp_path / "run")}
    own = recipe.model_copy(update=words).parts()
    with pytest.raises(BadInput, match=r"backbone_weights: .*a\.pth' not found"):
        check_folder(own, problem.inputs)
    assert not own.place.folder.exists()
    identities = []
    for content in (b"one", b"one", b"two"):
        weights.write_bytes(content)
        identities.append(_identity(own, problem.inputs))
    assert identities[0] == identities[1] != identities[2]


def test_what_a_start_that_was_killed_has_left_is_in_nobodys_way(
    parts: Parts, problem: Problem, tmp_path: Path
) -> None:
    mine = replace(parts, place=replace(parts.place, folder=tmp_path))
    for name in ("journal.jsonl.lock", ".journal.jsonl.123.partial"):
        (tmp_path / name).touch()
    check_folder(mine, problem.inputs)
    (tmp_path / "letter.txt").touch()
    with pytest.raises(BadInput, match="holds no run"):
        check_folder(mine, problem.inputs)


def test_a_journal_of_another_version_is_refused_before_anything_is_written(
    parts: Parts, problem: Problem, tmp_path: Path
) -> None:
    mine = replace(parts, place=replace(parts.place, folder=tmp_path))
    with Journal(tmp_path / "journal.jsonl", _identity(mine, problem.inputs)) as journal:
        journal.append("dream", {"of": 1})
    with pytest.raises(BadInput, match=r"journal\.jsonl:2: .*unknown kind 'dream'"):
        check_folder(mine, problem.inputs)


class Stopping(Watcher):
    """Stops a run at its first event."""

    def stage(self, text: str, /) -> None:
        raise KeyboardInterrupt(text)


@pytest.mark.ray
def test_at_the_first_event_the_folder_is_a_run_already_so_what_a_tracker_writes_there_is_in_nobodys_way(
    parts: Parts, problem: Problem, tmp_path: Path
) -> None:
    mine = replace(parts, place=replace(parts.place, folder=tmp_path / "mine", workers=1))
    with pytest.raises(KeyboardInterrupt):
        run(mine, problem, [Stopping()])
    (mine.place.folder / "tensorboard").mkdir()
    check_folder(mine, problem.inputs)
