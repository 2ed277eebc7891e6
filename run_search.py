"""From a trained YOLO and a budget to a leaderboard of smaller ones: `python run_search.py key=value ...`.

Exit codes: 0 done, 2 bad input, 3 budget out of reach, 4 nothing feasible, 75 interrupted (run it again to resume).
"""

import os
import sys
from collections.abc import Sequence
from pkgutil import resolve_name

os.environ |= {
    "ULTRALYTICS_SAFE_LOAD": "1",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
    "YOLO_OFFLINE": "true",
}

from rich.console import Console

from leaderboards.verbs.by_name import VERBS
from leaderboards.verbs.verb import Do, Verb
from search.loop import interruptible
from spaces.errors import UserError

FLAGS = ("--json", "--debug")
HELP = ("-h", "--help", "help")
USAGE = "python run_search.py"


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code; what is wrong with it is said before torch is imported."""
    words = [word for word in arguments if word not in (*FLAGS, *HELP)]
    verb = VERBS[words.pop(0)] if words and words[0] in VERBS else None
    if set(HELP) & set(arguments):
        sys.stdout.write(_page_of(verb, words) if verb else _page())
        return 0
    try:
        with interruptible():  # the analysis too, before a run has anything to keep
            _do(verb or VERBS["search"], words, is_json="--json" in arguments)
    except UserError as error:
        if "--debug" in arguments:
            raise
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        return error.exit_code
    return 0


def _do(verb: Verb, words: Sequence[str], *, is_json: bool) -> None:
    verb.check(words)
    do: Do = resolve_name(verb.do)
    do(words, Console(highlight=False), is_json)


def _page() -> str:
    """Return what there is to ask for."""
    width = max(len(verb.usage) for verb in VERBS.values())
    lines = [f"    {USAGE} {verb.usage:{width}}  {verb.summary}" for verb in VERBS.values()]
    more = f"`{USAGE} VERB --help` says what its words may be; `--json` prints profile, select and bench as JSON."
    first, _, rest = (__doc__ or "").partition("\n\n")
    return "\n".join([first, "", *lines, "", more, "", rest])


def _page_of(verb: Verb, words: Sequence[str]) -> str:
    return f"{USAGE} {verb.usage}\n\n{verb.summary}\n\n{verb.explain(words)}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
