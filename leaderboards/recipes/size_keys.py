"""What the key `image_sizes` may be, and when a search takes smaller images by itself."""

from collections.abc import Mapping

from search.strategies.by_name import STRATEGIES
from spaces.bases.names import SAME

NONE = "none"
OF_WORK = ("gflops", "macs_g", "bops_g", "latency_ms")  # limits that a smaller image helps to meet


def read_sizes(value: object, /) -> object:
    """Return the sizes of the word "none", which are no sizes; anything else as it is."""
    return () if value in (NONE, (NONE,), [NONE]) else value


def searches_sizes(known: Mapping[str, object], /) -> bool:
    """Return whether a run of these keys adds smaller images by itself.

    It does where the user leaves the sizes to it, something limits the work, and candidates are cut from the user's
    own network by what each width is known to lose.
    """
    record = STRATEGIES.get(str(known.get("strategy")))
    return (
        known.get("image_sizes") is None
        and any(known.get(key) is not None for key in OF_WORK)
        and record is not None
        and record.is_informed
        and known.get("backbones") == (SAME,)
        and not known.get("depth")
        and known.get("device_file") is None
    )
