"""Hypervolume: how much of the objective space a set of trials dominates.

moocore computes it (Fonseca, Paquete, Lopez-Ibanez 2006).
"""

import moocore

from autotune.analysis.pareto import FloatArray


def hypervolume(losses: FloatArray, reference: FloatArray) -> float:
    """Volume dominated by rows of losses under a reference point."""
    if not len(losses):
        return 0.0
    return float(moocore.hypervolume(losses, ref=reference))
