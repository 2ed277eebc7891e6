"""The verbs of the command line."""

from collections.abc import Mapping

from leaderboards.verbs import checks, folders, help  # noqa: A004 (what it is called on the command line)
from leaderboards.verbs.verb import Verb

_ROWS = (
    Verb(
        "search",
        "[search] key=value ...",
        "end to end; without arguments the embedded digits default",
        checks.check_recipe_words,
        folders.of_recipe,
        help.explain_recipe,
        "leaderboards.verbs.search:search",
    ),
    Verb(
        "profile",
        "profile key=value ...",
        "what can be cut and which budgets are in reach; no search",
        checks.check_profile,
        folders.none,
        help.explain_recipe,
        "leaderboards.verbs.profile:profile",
    ),
    Verb(
        "select",
        "select RUN key=value ...",
        "the best file of a finished run under other budgets",
        checks.check_select,
        folders.of_run,
        help.explain_select,
        "leaderboards.verbs.select:select",
    ),
    Verb(
        "report",
        "report RUN [RUN ... out=NAME]",
        "tables and report again from the journal; several runs on one leaderboard, ties as ties",
        checks.check_report,
        folders.of_run,
        help.explain_report,
        "leaderboards.verbs.report:report",
    ),
    Verb(
        "export",
        "export RUN id=ID format=F",
        "a row in any format that Ultralytics writes",
        checks.check_export,
        folders.of_run,
        help.explain_export,
        "leaderboards.verbs.export:export",
    ),
    Verb(
        "bench",
        "bench NAME key=value ...",
        "a benchmark; `bench --help` lists them",
        checks.check_bench,
        folders.none,
        help.explain_bench,
        "leaderboards.verbs.bench:bench",
    ),
)
VERBS: Mapping[str, Verb] = {row.name: row for row in _ROWS}
