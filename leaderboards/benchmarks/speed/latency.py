"""Does a profile of 20 minutes predict the latency of sub-networks it has not seen?

Makes the device file of this machine for one detector, then times other sub-networks of it, twice and apart in time.
What is held against the predictions is what the machine itself repeats; the peer is a straight line over the MACs,
fitted to the same profile.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluators.data.images import load_images
from evaluators.devices.device_file import write_device_file
from evaluators.devices.network_timer import LEAST_NETWORKS, SECONDS, NetworkTimer, Timings, draw_networks
from evaluators.latency.sentinel import drift
from leaderboards.benchmarks.arguments import read_count, read_number
from leaderboards.benchmarks.record import Cell, Record
from leaderboards.benchmarks.speed.device_profile import Profile, fit_profile, make_timer
from leaderboards.benchmarks.speed.latency_rows import OURS, PAIRED, latency_rows
from leaderboards.environment import environment
from leaderboards.recipes.parts import Parts
from leaderboards.recipes.reading import read_recipe
from leaderboards.runs.prepare import prepare
from leaderboards.runs.problem import Problem
from spaces.errors import BadInput

WITHIN_TARGET = 0.95
RANK_TARGET = 0.985
MOST_MINUTES = 20
VALIDATION_SHARE = 0.25  # of the profile's minutes, for each of the two visits


def latency(
    *,
    weights: str = "",
    data: str = "",
    imgsz: str = "",
    out: str = "device.json",
    minutes: str = "20",
    networks: str = "1000",
    unseen: str = "200",
) -> Record:
    """Return the share of unseen sub-networks whose predicted latency is within 10 % of the measured one.

    Args:
        minutes: the profile takes at most so many, and each visit to the unseen networks a quarter of them.
        networks: at most so many are timed for the profile.
    """
    given = {"weights": weights, "data": data, "imgsz": imgsz}
    words = [f"{key}={value}" for key, value in given.items() if value]
    parts = read_recipe(words).parts()
    seconds, n = (
        60 * read_number("minutes", minutes, least=0.01),
        read_count("networks", networks, least=LEAST_NETWORKS),
    )
    n_unseen, path = read_count("unseen", unseen, least=2), Path(out)
    if not path.absolute().parent.is_dir():
        raise BadInput(f"out: {str(path.absolute().parent)!r} is no folder")
    problem = prepare(parts)
    timer = _timer(parts, problem)
    timings = timer.time(draw_networks(problem.space, n, seed=0), seconds=seconds)
    profile = fit_profile(problem, timings, imgsz=parts.bases.imgsz)
    write_device_file(profile.device, path)
    again = draw_networks(problem.space, n_unseen, seed=1)
    visits = [timer.time(again, seconds=VALIDATION_SHARE * seconds, each=2 * SECONDS) for _ in range(2)]
    rows = latency_rows(problem, profile, timings, visits)
    words += [f"minutes={minutes}", f"networks={networks}", f"unseen={unseen}"]
    return _record(rows, profile, {**environment(), **_circumstances(profile, visits)}, words)


def _timer(parts: Parts, problem: Problem) -> NetworkTimer:
    calibration = problem.inputs.holdout.rest[: parts.making.calibration_images]
    return make_timer(problem, load_images(calibration, imgsz=parts.bases.imgsz))


def _record(
    rows: Sequence[Mapping[str, Cell]], profile: Profile, circumstances: Mapping[str, str], words: Sequence[str], /
) -> Record:
    ours = [row for row in rows if (row["prediction"], row["measured"]) == (OURS, PAIRED)]
    worst, rank = (min(float(row[name]) for row in ours) for name in ("within_10", "spearman"))
    return Record(
        "latency",
        f"share of {ours[0]['n']} unseen sub-networks predicted within 10 %, the worse of fp32 and INT8",
        worst,
        f"at least {WITHIN_TARGET}, with a Spearman of at least {RANK_TARGET}, from at most {MOST_MINUTES} minutes "
        "of profile",
        worst >= WITHIN_TARGET and rank >= RANK_TARGET and profile.device.minutes <= MOST_MINUTES,
        rows,
        circumstances,
        " ".join(["python run_search.py bench latency", *words, "--json"]),
    )


def _circumstances(profile: Profile, visits: Sequence[Timings]) -> dict[str, str]:
    """Return what the figures depend on besides the machine."""
    device = profile.device
    return {
        "machine": device.machine,
        "threads": f"{device.threads}, kept on processors {list(device.cpus)}",
        "profile": f"{device.n_networks} networks in {device.minutes:.1f} minutes",
        "validation minutes": f"{sum(visit.seconds for visit in visits) / 60:.1f}",
        "sentinel drift in the profile and after": ", ".join(
            f"{100 * each:.0f} %" for each in (device.drift, *(drift(visit.sentinel_ms) for visit in visits))
        ),
        "channels read and written are rounded up to": f"{device.fp32.blocks} in fp32, {device.int8.blocks} in INT8",
        "parent, ms, fp32 and INT8": f"{device.fp32.parent_ms:.3f}, {device.int8.parent_ms:.3f}",
    }
