"""Which bits each layer gets so that limits are met: by one price for all, and by single steps from any choice.

All arrays are of one candidate's widths. Uses are fractions of the limits, so all of a layer's options are compared in
one unit. A step moves one layer to any other of its options; those that are worth most for what they use come first, or
they come in random order.
Source: marginal analysis (Fox 1966), as for widths in `spaces.informed_space`; one price for all layers, Shoham 1988.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spaces.bits.layer_bits import Choice
from spaces.space import Floats

Flags = NDArray[np.bool_]

N_HALVINGS = 50  # of the interval of prices
CHEAPEST = 1e-15  # price, as a fraction of the dearest
LEAST = 1e-12  # uses that differ by less are equal


class Bids(NamedTuple):
    """What the options of each layer are worth and what they take.

    Attributes:
        costs: (n_layers, n_options) what is lost in accuracy.
        uses: (n_resources, n_layers, n_options) in fractions of each limit.
    """

    costs: Floats
    uses: Floats

    def use(self, choice: Choice, /) -> float:
        """Return how much `choice` takes of its tightest limit, 0.0 if there is none."""
        return float(self._total(choice).max(initial=0.0))

    def least_use(self) -> float:
        """Return the least that any choice takes of the tightest limit."""
        return float(self.uses.min(2, initial=np.inf).sum(1).max(initial=0.0)) if self.uses.size else 0.0

    def _total(self, choice: Choice) -> Floats:
        return np.asarray(self.uses[:, np.arange(len(choice)), choice].sum(1))

    def after(self, choice: Choice) -> Floats:
        """Return what is used of each limit when one layer moves, (n_resources, n_layers, n_options)."""
        own = self.uses[:, np.arange(len(choice)), choice]
        return np.asarray(self._total(choice)[:, None, None] + self.uses - own[:, :, None])

    def gains(self, choice: Choice) -> Floats:
        """Return what is won in accuracy when one layer moves, (n_layers, n_options)."""
        return np.asarray(self.costs[np.arange(len(choice)), choice][:, None] - self.costs)


def priced(bids: Bids, /) -> Choice:
    """Return what each layer would choose at the lowest price of use at which all together are within the limits."""
    total = bids.uses.sum(0)
    free: Choice = bids.costs.argmin(1)
    if bids.use(free) <= 1:
        return free
    dearest = max(float(np.ptp(bids.costs)), LEAST) / max(float(total[total > 0].min()), LEAST)
    low, high = np.log(CHEAPEST * dearest), np.log(dearest)
    choice: Choice = total.argmin(1)
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        trial: Choice = (bids.costs + np.exp(middle) * total).argmin(1)
        if bids.use(trial) > 1:
            low = middle
        else:
            high, choice = middle, trial
    return choice


def narrowed(bids: Bids, choice: Choice, is_fixed: Flags, /, *, rng: np.random.Generator | None = None) -> Choice:
    """Return `choice` after steps that bring it inside the limits, as far as the layers that are not fixed can.

    Args:
        rng: takes the steps in random order; without it those come first that lose least for what they save.
    """
    while bids.use(choice) > 1:
        excess = np.maximum(bids.after(choice) - 1, 0).sum(0)
        own = excess[0, choice[0]]  # to stay is a step, too
        saved = own - excess
        is_open = (saved > LEAST) & ~is_fixed[:, None]
        if not is_open.any():
            break
        worth = bids.gains(choice) / np.maximum(saved, LEAST)
        choice = _stepped(choice, is_open, worth, rng)
    return choice


def widened(bids: Bids, choice: Choice, is_fixed: Flags, /, *, rng: np.random.Generator | None = None) -> Choice:
    """Return `choice` after steps that win accuracy inside the limits, until none is left."""
    use = bids.use(choice)
    while True:
        uses = bids.after(choice).max(0, initial=0.0)
        gains = bids.gains(choice)
        is_open = (gains > 0) & (uses <= 1 - LEAST) & ~is_fixed[:, None]  # what is added up anew may round up
        if not is_open.any():
            return choice
        choice = _stepped(choice, is_open, gains / np.maximum(uses - use, LEAST), rng)
        use = bids.use(choice)


def _stepped(choice: Choice, is_open: Flags, worth: Floats, rng: np.random.Generator | None) -> Choice:
    """Return `choice` after the open step that is worth most, or any of them."""
    order = worth if rng is None else rng.random(worth.shape)
    layer, option = divmod(int(np.where(is_open, order, -np.inf).argmax()), order.shape[1])
    moved = choice.copy()
    moved[layer] = option
    return moved
