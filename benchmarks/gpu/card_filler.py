"""Holds GPU memory so that a wanted amount stays free: one line `GIB` in, one line of GiB free out.

    echo 10 | python card_filler.py

Runs where torch is; ends when its input ends. Takes blocks of 64 MiB, so what is left differs
from what was asked by less than that.
"""

import sys

import torch

_BLOCK = 64 * 1024**2
_GIB = 1024**3


def main() -> None:
    """Serve one wish after the other."""
    held: list[torch.Tensor] = []
    for line in sys.stdin:
        wanted = float(line) * _GIB
        while torch.cuda.mem_get_info()[0] - wanted >= _BLOCK:
            held.append(torch.empty(_BLOCK, dtype=torch.uint8, device="cuda"))
        while held and torch.cuda.mem_get_info()[0] < wanted:
            held.pop()
            torch.cuda.empty_cache()
        print(torch.cuda.mem_get_info()[0] / _GIB, flush=True)


if __name__ == "__main__":
    main()
