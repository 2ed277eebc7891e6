"""The benchmarks: each measures a claim and says whether it holds."""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leaderboards.benchmarks.bits.allocation import allocation
from leaderboards.benchmarks.bits.bit_sensitivity import bit_sensitivity
from leaderboards.benchmarks.bits.integer import integer
from leaderboards.benchmarks.bits.joint_bits import joint_bits
from leaderboards.benchmarks.bits.quantization import quantization
from leaderboards.benchmarks.bits.quantized_export import quantized_export
from leaderboards.benchmarks.cuts.calibration import calibration
from leaderboards.benchmarks.cuts.cutting import cutting
from leaderboards.benchmarks.cuts.difficulty import difficulty
from leaderboards.benchmarks.cuts.granularity import granularity
from leaderboards.benchmarks.cuts.importance import importance
from leaderboards.benchmarks.cuts.reconstruction import reconstruction
from leaderboards.benchmarks.cuts.sampler import sampler
from leaderboards.benchmarks.cuts.structures import structures
from leaderboards.benchmarks.ranking.eagleeye_calibration import eagleeye_calibration
from leaderboards.benchmarks.ranking.evaluation import evaluation
from leaderboards.benchmarks.ranking.ladder import ladder
from leaderboards.benchmarks.ranking.proxies import proxies
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.benchmarks.speed.latency import latency
from leaderboards.benchmarks.whole_runs.ablation import ablation
from leaderboards.benchmarks.whole_runs.kills import kills
from leaderboards.benchmarks.whole_runs.methods import methods
from leaderboards.benchmarks.whole_runs.swaps import swaps
from leaderboards.recipes.reading import read_pairs
from spaces.errors import BadInput

BENCHMARKS: Mapping[str, Callable[..., Record]] = {
    "cutting": cutting,
    "sampler": sampler,
    "kills": kills,
    "difficulty": difficulty,
    "evaluation": evaluation,
    "eagleeye_calibration": eagleeye_calibration,
    "granularity": granularity,
    "ablation": ablation,
    "calibration": calibration,
    "allocation": allocation,
    "bit_sensitivity": bit_sensitivity,
    "importance": importance,
    "integer": integer,
    "ladder": ladder,
    "joint_bits": joint_bits,
    "latency": latency,
    "methods": methods,
    "proxies": proxies,
    "quantization": quantization,
    "quantized_export": quantized_export,
    "reconstruction": reconstruction,
    "structures": structures,
    "swaps": swaps,
}


WIDEST = 10_000  # columns of text; no table has more


def run(words: Sequence[str], /) -> Record:
    """Return the record of the benchmark that `words` name, its keyword arguments after it as `key=value`.

    Raises:
        BadInput: none or an unknown one is named, or a key that it does not have.
    """
    if not words or words[0] not in BENCHMARKS:
        close = difflib.get_close_matches(words[0] if words else "", BENCHMARKS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise BadInput(f"name one benchmark of: {', '.join(BENCHMARKS)}{hint}")
    benchmark = BENCHMARKS[words[0]]
    return benchmark(**read_pairs(words[1:], allowed=tuple(inspect.signature(benchmark).parameters)))


def write_terminal(record: Record, console: Console, /) -> None:
    """Print `record` for a reader; a table that is wider than the console has a line of words for each row."""
    columns = list(dict.fromkeys(name for row in record.rows for name in row))
    texts = [{name: _text(row.get(name, "")) for name in columns} for row in record.rows]
    table = Table(*columns, title=record.name)
    for row in texts:
        table.add_row(*map(Text, row.values()))  # as it is: rich would read what stands in brackets as markup
    if console.measure(table, options=console.options.update(width=WIDEST)).maximum <= console.width:
        console.print(table)
    else:
        for row in texts:
            words = "  ".join(f"{name} {text}" for name, text in row.items() if text)
            console.print(words, highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{record.metric}: {record.value:.4g}; target {record.target}: {'holds' if record.holds else 'MISSED'}"
    )


def _text(value: Cell) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
