"""A driver to be killed: searches the toy space slowly, `python -m tests.search.toy_run JOURNAL`."""

import sys
from functools import partial
from pathlib import Path

from search.executor import InProcess
from search.journal import Journal
from search.loop import interruptible, search
from search.strategies.evolution import NSGA2
from spaces.errors import Interrupted
from tests.search.toy import OBJECTIVES, ToySpace, ignore, measure_slowly


def main(path: Path) -> int:
    strategy = NSGA2(ToySpace(4), {"macs_g": 20.0}, OBJECTIVES, population=8)
    executor = InProcess(partial(measure_slowly, 0.05))
    try:
        with interruptible(), Journal(path, {"seed": 3}) as journal:
            search(strategy, executor, journal, n_candidates=60, seed=3, on_result=ignore)
    except Interrupted as error:
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
