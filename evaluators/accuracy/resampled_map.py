"""mAP of resampled images: how far a difference between two detectors may be the luck of the split.

The images are drawn with replacement (Efron 1979, the bootstrap), the same for every detector: what is common to all
of them, an easy or a hard draw, falls out of their differences.
"""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.average_precision import IOU_THRESHOLDS, RECALLS, Tally
from spaces.files import write_atomic

N_RESAMPLES = 200
CHUNK = 25  # resamples that are worked on at once: 1 MB for each 5,000 detections

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def draw_images(n_images: int, /, *, seed: int = 0) -> Ints:
    """Return how often each of `n_images` images is drawn in each of 200 resamples, (200, n_images)."""
    return np.random.default_rng(seed).multinomial(n_images, np.full(n_images, 1 / n_images), N_RESAMPLES)


def resampled_map(tally: Tally, counts: Ints, /) -> Floats:
    """Return COCO's mAP50-95 of each resample, NaN for one without a box, (m,).

    Of classes without a box in a resample none counts there. Copies of an image tie in score; the precision at the
    last of them is the highest, so counting them together changes nothing.

    Args:
        counts: (m, images) how often each image occurs; all ones give the mAP of the split.
    """
    chunks = [counts[start : start + CHUNK] for start in range(0, len(counts), CHUNK)]
    return np.concatenate([_means(np.stack(_precisions(tally, chunk), axis=1)) for chunk in chunks])


def save_tally(tally: Tally, path: Path, /) -> None:
    """Write `tally` to `path` in one step, without the misses that no choice of images can make count."""
    counts = tally.is_right.any(1)  # some are right at a high threshold alone, the truth taken by another at the low
    last = np.full(tally.n_truth.shape[1], -1)
    np.maximum.at(last, tally.kind[counts], np.flatnonzero(counts))
    kept = np.arange(len(tally.kind)) <= last[tally.kind]  # a miss below the last hit of its class lowers no precision
    content = io.BytesIO()
    np.savez_compressed(
        content,
        image=tally.image[kept].astype(np.uint32),
        kind=tally.kind[kept].astype(np.uint16),
        is_right=np.packbits(tally.is_right[kept], axis=1),
        n_truth=tally.n_truth.astype(np.uint32),
    )
    write_atomic(path, content.getvalue())


def load_tally(path: Path, /) -> Tally:
    """Return the tally that `save_tally` wrote.

    Raises:
        OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error: there is none, or it is damaged.
    """
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Tally(
            arrays["image"].astype(np.int64),
            arrays["kind"].astype(np.int64),
            np.unpackbits(arrays["is_right"], axis=1, count=len(IOU_THRESHOLDS)).astype(bool),
            arrays["n_truth"].astype(np.int64),
        )


def _precisions(tally: Tally, counts: Ints) -> list[Floats]:
    """Return for each class the mean interpolated precision of each resample, (m,), NaN where it has no box."""
    found = []
    for kind in range(tally.n_truth.shape[1]):
        mine = slice(*np.searchsorted(tally.kind, (kind, kind + 1)))
        drawn = counts[:, tally.image[mine]]  # (m, n) how often each detection occurs
        n_truth = counts @ tally.n_truth[:, kind]
        sums = [_interpolated(drawn, hits, n_truth) for hits in tally.is_right[mine].T]
        mean = np.mean(sums, axis=0) if sums else np.zeros(len(counts))
        found.append(np.where(n_truth > 0, mean, np.nan))
    return found


def _interpolated(drawn: Ints, hits: NDArray[np.bool_], n_truth: Ints) -> Floats:
    """Return the mean over recalls of the best precision at or beyond each of them, (m,), at one threshold."""
    n_right = drawn[:, hits].cumsum(1)  # (m, hits)
    n_found = drawn.cumsum(1)[:, hits]
    precision = np.divide(n_right, n_found, out=np.zeros(n_right.shape), where=n_found > 0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.hstack([best, np.zeros((len(best), 1))])  # a recall that is not reached
    # as in `precision_table`: the first count of hits with count / n_truth >= recall, and always one
    needed = np.maximum(_needed(n_truth), 1)  # (m, recalls)
    apart = (n_right.max(initial=0) + needed.max(initial=0) + 1) * np.arange(len(drawn))[:, None]
    places = np.searchsorted((n_right + apart).ravel(), (needed + apart).ravel()).reshape(needed.shape)
    places -= n_right.shape[1] * np.arange(len(drawn))[:, None]
    return np.asarray(np.take_along_axis(best, places, axis=1).mean(1))


def _needed(n_truth: Ints) -> Ints:
    """Return the least count with count / n >= recall for each n of `n_truth` and each recall, (m, recalls)."""
    n = np.maximum(n_truth, 1)[:, None]
    guess = np.ceil(RECALLS * n).astype(np.int64)
    lower = (guess - 1) / n >= RECALLS  # the product was rounded up
    higher = guess / n < RECALLS
    return guess - lower + higher


def _means(values: Floats) -> Floats:
    """Return the mean of the numbers of each row, NaN of a row that has none."""
    is_there = np.isfinite(values)
    total = np.where(is_there, values, 0).sum(1)
    return np.asarray(np.divide(total, is_there.sum(1), out=np.full(len(values), np.nan), where=is_there.any(1)))
