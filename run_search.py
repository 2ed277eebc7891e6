"""From a trained YOLO and a budget to a leaderboard of smaller ones: `python run_search.py key=value ...`.

Exit codes: 0 done, 2 bad input, 3 budget out of reach, 4 nothing feasible, 70 internal error (a fault of this program,
please report it), 75 interrupted (run it again to resume).
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from pkgutil import resolve_name
from typing import TextIO

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports is no traceback

os.environ |= {
    "ULTRALYTICS_SAFE_LOAD": "1",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
    "YOLO_OFFLINE": "true",
}

from rich.console import Console

from leaderboards.verbs.by_name import VERBS
from leaderboards.verbs.ending import explained
from leaderboards.verbs.verb import Do, Verb
from leaderboards.wording import one_line
from search.loop import interruptible
from spaces.errors import Interrupted

FLAGS = ("--json", "--debug")
HELP = ("-h", "--help", "help")
USAGE = "python run_search.py"
LONGEST = 2000  # characters of what is said of an error


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code; what is wrong with it is said before torch is imported.

    Nothing but what ends the interpreter leaves it as an exception, unless `--debug` is among the arguments.
    """
    words = [word for word in arguments if word not in (*FLAGS, *HELP)]
    verb = VERBS[words.pop(0)] if words and words[0] in VERBS else None
    try:
        with interruptible():  # the analysis too, before a run has anything to keep
            if set(HELP) & set(arguments):
                _write(sys.stdout, _page_of(verb, words) if verb else _page())
            else:
                _do(verb or VERBS["search"], words, is_json="--json" in arguments)
            _write(sys.stdout, "")
    except BrokenPipeError:  # who read along has gone: there is nobody to tell
        _silence(sys.stdout)
        return Interrupted.exit_code
    except Exception as error:
        if "--debug" in arguments:
            raise
        told = explained(error, words, (verb or VERBS["search"]).folder)
        with suppress(OSError, ValueError):  # nobody to tell either
            _write(sys.stderr, f"{one_line(str(told), width=LONGEST)}\n")
        _silence(sys.stdout)
        return told.exit_code
    return 0


class _Console(Console):
    """A console that does not end the program by itself where nobody reads along any more."""

    def on_broken_pipe(self) -> None:
        """Raise the error that is being handled, to be met with all the others."""
        self.quiet = True
        raise BrokenPipeError


def _do(verb: Verb, words: Sequence[str], *, is_json: bool) -> None:
    verb.check(words)
    do: Do = resolve_name(verb.do)
    do(words, _Console(highlight=False), is_json)


def _write(stream: TextIO | None, text: str) -> None:
    """Write `text` now; there is no stream where the caller has closed it."""
    if stream is not None:
        stream.write(text)
        stream.flush()


def _silence(stream: TextIO | None) -> None:
    """Make sure that what could not be written is not tried, and complained of, once more when Python ends."""
    try:
        _write(stream, "")
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno() if stream else 1)


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # there is none where the caller has closed it
            stream.reconfigure(errors="backslashreplace")  # a name that this terminal has no letters for
    sys.exit(main(sys.argv[1:]))
