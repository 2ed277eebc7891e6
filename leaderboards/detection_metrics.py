"""What mAP does not tell of a row's file: how it does at one score threshold, and in each class."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from spaces.errors import BadInput


@dataclass(frozen=True)
class DetectionMetrics:
    """How one file of a row detects on the sealed val split, each number in [0, 1].

    Attributes:
        f1_threshold: the score threshold of the best F1, over all classes together at IoU 0.5.
        f1: at that threshold, as are `precision` and `recall`.
        recall_at_parent_threshold: recall at the threshold of the best F1 of the parent's own network: what whoever
            swaps the file and keeps the threshold gets.
        class_map50_95: COCO mAP of each class that has boxes, by its name, or its number and name if others share it.
    """

    f1_threshold: float
    f1: float
    precision: float
    recall: float
    recall_at_parent_threshold: float
    class_map50_95: Mapping[str, float]

    @classmethod
    def from_json(cls, record: object) -> Self:
        """Return the metrics whose fields are in `record`.

        Raises:
            BadInput: the record has another shape.
        """
        names = {field.name for field in fields(cls)}
        if isinstance(record, dict) and {*record} == names and isinstance(record["class_map50_95"], dict):
            return cls(**record)
        raise BadInput(f"not detection metrics: {record!r:.80}")
