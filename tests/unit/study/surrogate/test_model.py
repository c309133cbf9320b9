"""What is believed of configurations that were not tried."""

import numpy as np

from autotune.records import Configuration
from autotune.spec.space import space_from
from autotune.study.outcomes import GPU_MEMORY, START
from autotune.study.surrogate.features import Encoder, FloatArray
from autotune.study.surrogate.model import Model, Points

SPACE = space_from(
    {
        "name": "share",
        "parameters": {
            "gpu_memory_utilization": {"low": 0.80, "high": 0.96, "step": 0.02},
            "attention_backend": {"choices": ["default", "FLASHINFER", "TRITON_ATTN"]},
        },
    },
    where="share",
)


def shares(*values: float) -> list[Configuration]:
    """Configurations that differ in the share of the GPU's memory."""
    return [Configuration.of({"gpu_memory_utilization": v}) for v in values]


def points(configurations: list[Configuration], prior: FloatArray) -> Points:
    """With the prior's word on GPU memory alone."""
    return Points(
        configurations=configurations,
        rows=Encoder(SPACE).encode(configurations),
        prior_losses=np.full((len(configurations), 1), np.nan),
        prior_constraints=np.column_stack([np.full(len(configurations), np.nan), prior]),
    )


def test_a_margin_that_was_measured_tells_how_far_the_next_step_may_go() -> None:
    """12 GiB, of which the prior believes half a GiB more to be taken than is: it says 50%."""
    tried, asked = np.asarray([0.80, 0.84, 0.86, 0.88]), np.asarray([0.90, 0.96])

    def truth(share: FloatArray) -> FloatArray:
        return 12 * share - 11.3  # as a constraint: over 0 is too much

    model = Model(1, (START, GPU_MEMORY), [p.name for p in SPACE.parameters])
    constraints = np.column_stack([np.full(4, -1.0), truth(tried)])
    model.fit(points(shares(*tried), truth(tried) + 0.5), np.zeros((4, 1)), constraints, tune=True)
    fits, does_not = model.predict(points(shares(*asked), truth(asked) + 0.5)).feasible
    assert fits > 0.9
    assert does_not < 0.5
