"""`vllm serve` that has done its imports beforehand: python preloaded.py GO_FILE serve MODEL ...

Importing vLLM takes some 20 s, twice: in the API server and, started by `spawn`, in the engine's
process. Here the imports are done, then the process waits until GO_FILE exists; with `fork` the
engine's process inherits them. For scripts that provoke many starts; never for what is measured.
"""

import importlib
import os
import sys
import time  # noqa: TID251 - runs beside vLLM, without autotune's clock
from pathlib import Path

_WAIT_S = 900
_MODULES = ("vllm.entrypoints.cli.main", "vllm.entrypoints.cli.serve", "vllm.v1.engine.core")


def main() -> None:
    """Import, wait, serve."""
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "fork")
    for name in _MODULES:
        importlib.import_module(name)
    go = Path(sys.argv[1])
    go.with_suffix(".ready").touch()
    for _ in range(_WAIT_S * 10):
        if go.exists():
            break
        time.sleep(0.1)
    else:
        sys.exit(f"{go} did not appear within {_WAIT_S} s")
    sys.argv = ["vllm", *sys.argv[2:]]
    sys.exit(importlib.import_module("vllm.entrypoints.cli.main").main())


if __name__ == "__main__":
    main()
