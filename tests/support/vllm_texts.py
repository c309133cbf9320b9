"""Texts of vLLM releases as `tests/golden/read_vllm_texts.py` read them, filled in."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "golden" / "data"
_PLACEHOLDER = re.compile(r"%(?:\.\d+)?[sdf]|\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")


@cache
def golden(folder: str, release: str) -> dict[str, Any]:
    """One golden file: `folder` is vllm_logs, vllm_failures or vllm_metrics."""
    path = DATA / folder / f"vllm-{release}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def releases(folder: str) -> list[str]:
    """Releases that there are goldens of, oldest first."""
    names = [p.stem.removeprefix("vllm-") for p in (DATA / folder).glob("vllm-*.json")]
    return sorted(names, key=lambda name: tuple(int(part) for part in name.split(".")))


def filled(template: str, *values: object, **named: str) -> str:
    """A template with values in place of its placeholders, in order; the last one repeats.

    Named values go to every placeholder that contains the name.
    """
    left = list(values) or [12]

    def fill(found: re.Match[str]) -> str:
        for name, text in named.items():
            if name in found[0]:
                return text
        return str(left.pop(0) if len(left) > 1 else left[0])

    return _PLACEHOLDER.sub(fill, template)
