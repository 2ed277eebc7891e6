import numpy as np

from search.strategies.unstructured import Unstructured
from spaces.candidate import Candidate


def test_the_one_candidate_is_proposed() -> None:
    masked = Candidate("same", (("mask.weight", 30),))
    strategy = Unstructured(masked)
    strategy.tell([])
    assert [strategy.ask(np.random.default_rng(seed)) for seed in range(2)] == [masked, masked]
