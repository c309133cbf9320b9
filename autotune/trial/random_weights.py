"""Whether a study's own arguments make the engine serve random weights."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

_FLAG: Final = "--load-format"


def weights_are_random(arguments: Sequence[str]) -> bool:
    """Whether the last `--load-format` is `dummy`, in one word or two.

    vLLM takes underscores for dashes in a flag's name (utils/argparse_utils.py), and of a flag
    that is given twice the last one holds.
    """
    chosen = ""
    for argument, after in pairwise([*arguments, ""]):
        name, equals, value = argument.partition("=")
        if name.replace("_", "-") == _FLAG:
            chosen = value if equals else after
    return chosen == "dummy"
