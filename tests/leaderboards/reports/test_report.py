import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np

from evaluators.result import Result, Status
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.report import Background, render_report
from tests.leaderboards.synthetic import BLOCKS, HOSTILE, make_board, make_report, make_results


class Page(HTMLParser):
    """Collects the elements of a page, its visible text and its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        is_script = self.elements and self.elements[-1][0] == "script"
        (self.scripts if is_script else self.texts).append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def test_report_is_self_contained_and_inlines_plotly_once() -> None:
    page = Page(make_report())
    policy = next(attributes["content"] for tag, attributes in page.elements if "http-equiv" in attributes)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert not any({"src", "href", "data", "action"} & set(attributes) for _, attributes in page.elements)
    assert sum(len(script) > 1_000_000 for script in page.scripts) == 1


def test_hostile_names_make_no_element_and_no_script() -> None:
    text = make_report()
    page = Page(text)
    assert page.count("img") == 0
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.count("script") == 11  # plotly, one for each of the 9 charts, the printing
    assert HOSTILE not in text
    assert any("alert('x')" in piece for piece in page.texts)  # it is told, as text


def test_equal_runs_give_equal_reports() -> None:
    assert make_report() == make_report()


def test_every_section_has_its_heading_and_every_row_its_place() -> None:
    page = Page(make_report())
    text = "".join(page.texts)
    for heading in ("Leaderboard", "Accuracy against cost", "Can the ranking be trusted?", "The search",
                    "What each model keeps", "Failures", "How it was made", "Recipe", "Environment"):  # fmt: skip
        assert heading in text
    assert all(entry.id in text for entry in make_board().entries)
    assert "finetune.epochs" in text


def test_a_run_of_which_nothing_came_still_has_its_report() -> None:
    parent = replace(make_board().parent, quality=None, status=Status.FAILED, error="OSError: x")
    board = Leaderboard([parent], {"latency_ms": 5.0})
    text = "".join(Page(render_report(board, [], Background((), {}, {}, {}, ()))).texts)
    assert "Nothing meets the budget" in text
    assert "Too few" in text


def test_a_search_by_loss_has_its_report_with_a_cloud_of_map_only_if_it_measured_that_too() -> None:
    board = Leaderboard([replace(entry, proxy_name="loss") for entry in make_board().entries], {})
    with_map = [
        replace(result, readings={**result.readings, "loss": 3.0}) if result.status is Status.DONE else result
        for result in make_results(np.random.default_rng(0))
    ]
    without = [
        replace(result, readings={name: value for name, value in result.readings.items() if name != "map50_95"})
        for result in with_map
    ]
    for results, has_cloud in ((with_map, True), (without, False)):
        text = "".join(Page(render_report(board, results, Background(BLOCKS, {}, {}, {}, ()))).texts)
        assert ("searched only" in text) == has_cloud


def test_every_reading_of_the_fine_tuned_rows_is_compared() -> None:
    board = make_board()
    results = [
        Result(number, entry.candidate, Status.DONE, {"map50_95": 0.1 * number, "block_loss": -0.1 * number}, 1.0)
        for number, entry in enumerate(entry for entry in board.rows if entry.quality)
    ]
    text = "".join(Page(render_report(board, results, Background(BLOCKS, {}, {}, {}, ()))).texts)
    assert "mAP lost by its first choice" in text
    assert "sum of the blocks' losses" in text


def test_many_failures_are_counted_but_not_all_listed() -> None:
    failed = [
        replace(r, status=Status.FAILED, readings={}, error="E: x") for r in make_results(np.random.default_rng(0))
    ]
    text = "".join(Page(render_report(make_board(), failed, Background(BLOCKS, {}, {}, {}, ()))).texts)
    assert "71 more are in journal.jsonl" in text  # 120 candidates and 1 entry, 50 shown


def test_settings_that_are_no_text_are_shown_as_json() -> None:
    recipe: dict[str, object] = {"limits": {}, "front": None, "names": ["a"], "seed": 0}
    text = "".join(Page(render_report(make_board(), [], Background(BLOCKS, {}, recipe, {}, ()))).texts)
    assert json.dumps(recipe["names"]) in text
    assert "null" in text
