"""The hard limits that a model has to meet, any number of them at once."""

from collections.abc import Mapping
from dataclasses import dataclass

ROUNDING = 1e-9  # what is exactly at a limit that was given in percent is within it


@dataclass(frozen=True)
class Budget:
    """Upper limits by metric name (`macs_g`, `params_m`, `size_mb`, `bops_g`, `latency_ms`)."""

    limits: Mapping[str, float]

    def violations(self, readings: Mapping[str, float]) -> tuple[str, ...]:
        """Return the names of the limits that `readings` exceed; a limit without a reading is not judged."""
        return tuple(
            name for name, limit in self.limits.items() if name in readings and readings[name] > limit * (1 + ROUNDING)
        )

    def excess(self, readings: Mapping[str, float]) -> float:
        """Return by what fraction the worst limit is exceeded, 0.0 when all are met."""
        return max((readings[name] / self.limits[name] - 1 for name in self.violations(readings)), default=0.0)
