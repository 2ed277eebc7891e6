"""From the journal to what people read: tables, report, model cards. All of it can be made again at any time."""

from collections.abc import Mapping
from pathlib import Path

from leaderboards.environment import environment
from leaderboards.leaderboard import Leaderboard
from leaderboards.reports.card import card
from leaderboards.reports.charts import Blocks
from leaderboards.reports.render import write_markdown
from leaderboards.reports.report import Background, render_report
from leaderboards.run_folder import MODELS, lacks_pt, read_board, read_run
from leaderboards.run_records import BASE, SPACE, notes_on
from search.replay import Replay
from spaces.files import write_atomic


def publish(folder: Path, /) -> Leaderboard:
    """Return the leaderboard of the run in `folder`, with its tables, report and cards written anew.

    Raises:
        BadInput: `folder` holds no run, or one without finished rows.
    """
    journal, recipe = read_run(folder)
    board = read_board(journal, folder)
    board.write_csv(folder / "leaderboard.csv")
    write_markdown(board, folder / "leaderboard.md")
    results = [journal.results[number] for number in sorted(journal.results)]
    facts = journal.records(SPACE)[0]
    bases = {str(facts["name"]): _blocks(facts) for facts in journal.records(BASE)}
    background = Background(_blocks(facts), bases, recipe, environment(), _notes(facts, journal))
    report = render_report(board, results, background)
    write_atomic(folder / "report.html", report)
    for entry in board.entries:
        if entry.quality is not None and (folder / MODELS / entry.id).is_dir():
            models = folder / MODELS / entry.id
            write_atomic(models / "card.md", card(entry, board, has_pt=not lacks_pt(models)))
    return board


def _blocks(facts: Mapping[str, object]) -> Blocks:
    blocks = facts["blocks"]
    assert isinstance(blocks, list)
    return [(str(name), int(size)) for name, size in blocks]


def _notes(facts: Mapping[str, object], journal: Replay) -> list[str]:
    notes = facts["notes"]
    assert isinstance(notes, list)
    return [*(str(note) for note in notes), *notes_on(journal)]
