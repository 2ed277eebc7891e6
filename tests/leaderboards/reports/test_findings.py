from dataclasses import replace

import numpy as np

from evaluators.runtimes.precision import Precision
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.card import card
from leaderboards.reports.findings import (
    agreement_sentence,
    headline,
    int8_sentence,
    reference_sentences,
    search_sentence,
    tiles,
)
from leaderboards.reports.render import legend
from leaderboards.reports.table import tabulate
from spaces.candidate import Candidate
from tests.leaderboards.synthetic import file_of, make_board, make_results, with_file, with_reference
from tests.leaderboards.test_leaderboard import board_of


def test_headline_names_the_file_that_meets_the_budget_and_compares_it_with_the_parent() -> None:
    board = make_board()
    text = headline(board)
    assert text.startswith(f"{board.rows[0].id} (int8) is the best model within the budget: mAP50-95 0.444")
    assert "94 % of the parent's 0.474, with 62 % of its MACs and 2.3 times as fast" in text


def test_headline_without_a_feasible_row_tells_the_nearest_miss_and_has_no_tiles() -> None:
    board = Leaderboard(make_board().entries, {"latency_ms": 1.0})
    assert headline(board).startswith("Nothing meets the budget: no row meets latency_ms <= 1; the nearest is")
    assert tiles(board) == []


def test_headline_says_when_the_parent_is_best() -> None:
    assert headline(board_of([(0.5, 0.0)], {})).startswith("The parent's fp32 file is the best model")


def test_tiles_show_the_chosen_file() -> None:
    assert [tile.value for tile in tiles(make_board())] == ["0.444", "3.98", "1.55", "1.71", "15.1"]


def test_without_labels_rows_agree_with_the_parent_and_nothing_is_called_map() -> None:
    board = replace(make_board(), is_labelled=False)
    assert ": agreement 0.444, 94 % of the parent's" in headline(board)
    assert tiles(board)[0].title == "agreement"
    assert "INT8 the agreement changes by" in int8_sentence(board)
    assert "agreement" in agreement_sentence(board)
    assert "Nothing was judged by labels" in legend(board)
    assert [heading.title for heading in tabulate(board, is_brief=True).headings if "greement" in heading.title] == [
        "agreement",
        "INT8 agreement",
    ]
    assert "| agreement, with what the parent finds, no labels |" in card(board.rows[0], board)


def test_no_correlation_is_claimed_of_three_rows() -> None:
    text = agreement_sentence(board_of([(0.5, 0.0), (0.6, 0.0), (0.7, 0.0)], {}))
    assert text.startswith("Too few")
    assert "Spearman" not in text


def test_the_correlation_of_a_few_rows_comes_with_n_and_a_caution() -> None:
    board = board_of([(0.4, 0.0), (0.5, 0.0), (0.6, 0.0), (0.7, 0.0)], {})
    text = agreement_sentence(board)
    assert "Spearman 1.00, Kendall 1.00 over n = 4" in text
    assert "may well be chance" in text  # p = 2 / 4!
    assert "95 % of resamples" not in text  # of four in perfect order each resample is in perfect order
    assert "would have cost 0.000 mAP" in text
    falling = Leaderboard([replace(entry, proxy_name="loss") for entry in board.entries], {})
    assert "Spearman -1.00" in agreement_sentence(falling)  # a loss that rises with the mAP disagrees


def test_the_correlation_of_more_rows_comes_with_its_interval() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 12).tolist()
    text = agreement_sentence(board_of([(0.4 + 0.02 * index, extra) for index, extra in enumerate(noise)], {}))
    low, high = (float(part) for part in text.split("95 % of resamples: ")[1].split(")")[0].split(" to "))
    spearman = float(text.split("Spearman ")[1].split(" ")[0])
    assert -1 <= low < spearman < high <= 1


def test_search_is_counted_by_status() -> None:
    text = search_sentence(make_results(np.random.default_rng(0)))
    assert text.startswith("120 proposed: 112 measured, 5 over the budget, 3 failed; 3.40 worker minutes")


def test_slower_int8_is_told() -> None:
    board = board_of([(0.5, 0.0)], {})
    entry = board.rows[0]
    assert entry.quality is not None
    int8 = replace(file_of(entry.quality, Precision.INT8), latency_ms=99.0, map50_95=0.2)
    slow = replace(entry, quality=with_file(entry.quality, int8))
    text = int8_sentence(Leaderboard([board.parent, slow], {}))
    assert "to -0.013; the INT8 file is slower in 1 of 2 rows" in text


def test_the_headline_compares_with_the_smaller_image_and_the_legend_tells_what_it_beats() -> None:
    board = with_reference(make_board(), share=0.33, noise=-0.05)
    score = board.references[0].quality
    assert score is not None
    assert headline(board).endswith(f" The whole network fed 192 px has {score.map50_95:.3f}.")
    assert reference_sentences(board) == ["parent@192 is the whole network fed 192 px."]
    better = with_reference(Leaderboard(make_board().entries, {"macs_g": 2.1}), share=0.33, noise=0.2)
    assert headline(better).startswith("parent@192 (fp32) is the best model within the budget")
    assert "192 px has" not in headline(better)
    (sentence,) = reference_sentences(better)
    assert sentence.count(",") == 4  # all five measured rows, of more MACs or as many, and of less mAP


def test_a_rival_is_told_by_its_name() -> None:
    board = with_reference(make_board(), share=0.33, noise=-0.05)
    rival = replace(board.references[0], id="yolo11n@192", candidate=Candidate("yolo11n@192", ()))
    entries = [entry for entry in board.entries if entry is not board.references[0]]
    board = Leaderboard([*entries, rival], board.limits)
    assert " The rival yolo11n fed 192 px has " in headline(board)
    assert reference_sentences(board) == ["yolo11n@192 is the rival yolo11n fed 192 px."]
