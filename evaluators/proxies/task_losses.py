"""The parts of the task loss one by one, for methods that watch the most damaged of the tasks."""

from evaluators.accuracy.detection import task_losses
from evaluators.data.images import Images
from evaluators.measure import Evaluator
from evaluators.metric import LOSS, TASK_LOSSES
from spaces.build import Subnet
from spaces.recovery.recovery import Recovery


def by_task(images: Images, recovery: Recovery, /) -> Evaluator:
    """Return the evaluator of the task loss on `images` after `recovery`, and of each of its three parts."""

    def evaluate(subnet: Subnet) -> dict[str, float]:
        parts = task_losses(subnet.network(recovery), images, precision=subnet.builder.precision)
        return {LOSS.name: sum(parts), **dict(zip(TASK_LOSSES, parts, strict=True))}

    return evaluate
