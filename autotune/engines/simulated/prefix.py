"""Identity of prompt stretches: two prompts share a prefix while their leading segments agree."""

from collections.abc import Iterable

from autotune.seams.requests import Segment


class PrefixIndex:
    """Gives each chain of segments a small number; equal chains get equal numbers.

    Tokens are never made: a segment stands for its tokens (see `autotune.seams.requests`).
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int, int], int] = {}

    def chain(self, segments: Iterable[Segment]) -> tuple[tuple[int, int], ...]:
        """Number and end position in tokens of each leading stretch of a prompt."""
        parent, end = 0, 0
        chain = []
        for segment in segments:
            if segment.tokens <= 0:
                continue
            key = (parent, segment.seed, segment.tokens)
            parent = self._numbers.setdefault(key, len(self._numbers) + 1)
            end += segment.tokens
            chain.append((parent, end))
        return tuple(chain)
