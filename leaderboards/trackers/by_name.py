"""Every experiment tracker, one row each: its name, what it needs, and where its code is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec

from spaces.errors import BadInput


@dataclass(frozen=True)
class TrackerRecord:
    """One tracker.

    Attributes:
        tracker: its `MakeTracker`, as "module:function", imported when a run asks for it.
        package: the module that must be importable.
        extra: of this project that installs it.
        environment: what its library reads when it is imported: that it writes to nobody but the store, and is silent.
    """

    name: str
    tracker: str
    package: str
    extra: str
    environment: Mapping[str, str] = field(default_factory=dict)


_ROWS = (
    TrackerRecord(
        "mlflow",
        "leaderboards.trackers.mlflow_tracker:open_tracker",
        "mlflow",
        "mlflow",
        {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"},
    ),
    TrackerRecord(
        "tensorboard", "leaderboards.trackers.tensorboard_tracker:open_tracker", "tensorboard", "tensorboard"
    ),
    TrackerRecord(
        "wandb",
        "leaderboards.trackers.wandb_tracker:open_tracker",
        "wandb",
        "wandb",
        {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"},
    ),
)
TRACKERS: Mapping[str, TrackerRecord] = {row.name: row for row in _ROWS}


def check_installed(name: str, /) -> None:
    """Make sure that what the tracker `name` needs is installed, without importing it.

    Raises:
        BadInput: it is not; the message names the extra to install.
    """
    row = TRACKERS[name]
    spec = find_spec(row.package)
    if spec is None or spec.origin is None:  # a folder of that name, as trackers leave them, is no package
        raise BadInput(f"track={name} needs the package {row.package}: pip install -e '.[{row.extra}]'")
