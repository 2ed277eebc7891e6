import json
from dataclasses import replace

import pytest

from leaderboards.detection_metrics import DetectionMetrics
from leaderboards.entry import PARENT, Entry
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.card import card
from leaderboards.reports.detection_table import detection_rows, in_words, layer_sentences, worst_classes
from leaderboards.reports.render import markdown
from leaderboards.reports.report import Background, render_report
from tests.leaderboards.synthetic import BLOCKS, HOSTILE, LIMITS, make_board, with_bits, with_file

CLASSES = {"cat": 0.5, "dog": 0.4, "cow": 0.3, HOSTILE: 0.2}
PARENTS = DetectionMetrics(0.3, 0.8, 0.75, 0.857, 0.857, CLASSES)
OWN = DetectionMetrics(0.25, 0.7, 0.65, 0.758, 0.7, {"cat": 0.4, "dog": 0.41, "cow": 0.15, HOSTILE: 0.18})
INT8 = replace(OWN, f1_threshold=0.2, recall_at_parent_threshold=0.6)
WORST = {"9.cv2": 8.25, "4.cv1": 11.5}


def detection_board() -> Leaderboard:
    """Return a board on which the parent and the first row have detection metrics; the first row has few bits."""
    board = make_board()

    def detection(entry: Entry) -> Entry:
        assert entry.quality is not None
        if entry.id == PARENT:
            return replace(entry, quality=replace(entry.quality, detection=PARENTS))
        quality = with_bits(entry.quality, "2 of 9 layers run as 8-bit integers")
        quality = with_file(quality, replace(quality.own, detection=INT8))
        return replace(entry, quality=replace(quality, detection=OWN, worst_layers=WORST))

    return Leaderboard([detection(board.parent), detection(board.rows[0]), *board.rows[1:]], LIMITS)


def test_each_file_that_was_judged_has_a_row_beside_the_parents() -> None:
    rows = detection_rows(detection_board())
    assert [(row.id, row.file) for row in rows] == [
        (PARENT, "fp32"),
        (detection_board().rows[0].id, "simulated"),
        (detection_board().rows[0].id, "INT8"),
    ]
    assert rows[0].cells == ("0.800", "0.300", "+0.000", "0.750", "0.857", "0.857")
    assert rows[2].cells == ("0.700", "0.200", "-0.100", "0.650", "0.758", "0.600")
    assert rows[0].classes == ""


def test_the_classes_that_lose_most_come_first_and_those_that_gain_are_left_out() -> None:
    assert worst_classes(OWN, PARENTS) == f"cow -0.150, cat -0.100, {HOSTILE[:37]}... -0.020"
    assert worst_classes(OWN, None) == ""
    assert worst_classes(OWN, replace(PARENTS, class_map50_95={"cat": 0.45})) == "cat -0.050"


def test_words_say_the_point_its_parents_and_every_class() -> None:
    few = replace(OWN, class_map50_95={"cat": 0.4, "dog": 0.41})
    assert in_words(few, PARENTS) == (
        "best F1 0.700 (precision 0.650, recall 0.758) at score threshold 0.250 (parent 0.300), recall at the parent's "
        "0.700. mAP50-95 by class: cat 0.400, dog 0.410."
    )


def test_csv_has_the_point_its_shift_and_classes_and_layers_as_json() -> None:
    frame = detection_board().frame().set_index("id")
    row = frame.loc[detection_board().rows[0].id]
    assert row["f1_threshold_shift"] == pytest.approx(-0.05)
    assert row["int8_f1_threshold_shift"] == pytest.approx(-0.1)
    assert (row["f1"], row["f1_precision"], row["int8_recall_at_parent_threshold"]) == (0.7, 0.65, 0.6)
    assert json.loads(str(row["class_map50_95"])) == OWN.class_map50_95
    assert json.loads(str(row["worst_layers"])) == WORST
    assert frame.loc[PARENT, "f1_threshold_shift"] == 0
    assert frame.loc[[entry.id for entry in detection_board().rows[1:]], "f1"].isna().all()


def test_markdown_report_and_card_show_it_where_it_was_measured_and_nowhere_else() -> None:
    board = detection_board()
    report = render_report(board, [], Background(BLOCKS, {}, {}, {}, ()))
    for text in (markdown(board), report):
        assert "Beyond mAP" in text
        assert "cow -0.150" in text
        assert "9.cv2 8.2 dB, 4.cv1 11.5 dB" in text
        assert HOSTILE not in text
    first = card(board.rows[0], board)
    assert "simulated: best F1 0.700" in first
    assert "INT8: best F1 0.700" in first
    assert "9.cv2 8.2 dB" in first
    assert HOSTILE not in first
    before = make_board()
    plain = render_report(before, [], Background(BLOCKS, {}, {}, {}, ()))
    for text in (markdown(before), plain, card(before.rows[0], before)):
        assert "best F1" not in text


def test_layers_are_named_with_their_row() -> None:
    assert layer_sentences(detection_board()) == [f"{detection_board().rows[0].id}: 9.cv2 8.2 dB, 4.cv1 11.5 dB"]
