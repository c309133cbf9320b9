"""One question each, asked of a running deployment.

`PROBES` names them in the order in which they run: cheapest first, `memory` last, for it reads
what the others left in the timeline. `PROBES[name]().test` is the probe's number in the fixed
matrix.
"""

from collections.abc import Callable, Mapping
from typing import Final

from autotune.probes.capacity import CapacityProbe
from autotune.probes.correctness import CorrectnessProbe
from autotune.probes.long_context import LongContextProbe
from autotune.probes.memory import MemoryProbe
from autotune.probes.prefix_cache import PrefixCacheProbe
from autotune.probes.startup import StartupProbe
from autotune.probes.throughput import ThroughputProbe
from autotune.probes.ttft import TtftProbe
from autotune.seams.probe import Probe

PROBES: Final[Mapping[str, Callable[[], Probe]]] = {
    "startup": StartupProbe,
    "ttft": TtftProbe,
    "correctness": CorrectnessProbe,
    "throughput": ThroughputProbe,
    "long_context": LongContextProbe,
    "prefix_cache": PrefixCacheProbe,
    "capacity": CapacityProbe,
    "memory": MemoryProbe,
}
