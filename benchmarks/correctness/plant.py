"""Copies of a small Qwen2 model, each with one fault; runs in an environment with safetensors.

    python plant.py MODEL OUT

MODEL is what `.ci/tiny_model.py` makes. Its random weights (standard deviation 0.02) are scaled by
5 first: at 0.1 attention matters, so that what it reads wrongly shows in what it says. OUT gets a
folder per copy; `clean` has no fault.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

SCALE = 5.0
ROPE_BASE = 500_000.0
WINDOW_TOKENS = 1024
TEMPLATE = (
    "{% for message in messages %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% endfor %}"
)


class Copy:
    """One copy of the model; what is wrong with it is changed before it is written.

    Attributes:
        weights: By name.
        config: As in config.json.
        template: The chat template.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        self.weights = {
            name: tensor * SCALE if tensor.dim() > 1 else tensor
            for name, tensor in load_file(model / "model.safetensors").items()
        }
        self.config: dict[str, Any] = json.loads((model / "config.json").read_text())
        self.template = (model / "chat_template.jinja").read_text()

    def write(self, folder: Path) -> None:
        """Write a folder that vLLM serves."""
        shutil.copytree(self._model, folder, dirs_exist_ok=True)
        weights = {name: tensor.contiguous() for name, tensor in self.weights.items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(self.config, indent=1))
        (folder / "chat_template.jinja").write_text(self.template)


def clean(copy: Copy) -> None:
    """No fault."""


def keys_doubled(copy: Copy) -> None:
    """Key projections scaled by 2 in every layer."""
    for name in copy.weights:
        if ".k_proj." in name:
            copy.weights[name] = copy.weights[name] * 2


def kv_heads_swapped(copy: Copy) -> None:
    """The two KV heads of the first layer exchanged."""
    for name in copy.weights:
        if name.startswith("model.layers.0.") and (".k_proj." in name or ".v_proj." in name):
            first, second = copy.weights[name].chunk(2)
            copy.weights[name] = torch.cat([second, first])


def rope_base(copy: Copy) -> None:
    """Rotary embeddings of base 500,000 in place of 10,000."""
    copy.config["rope_parameters"] = {"rope_type": "default", "rope_theta": ROPE_BASE}


def context_truncated(copy: Copy) -> None:
    """Attention that sees the last 1024 tokens only."""
    copy.config |= {
        "use_sliding_window": True,
        "sliding_window": WINDOW_TOKENS,
        "max_window_layers": 0,
        "layer_types": ["sliding_attention"] * copy.config["num_hidden_layers"],
    }


def chat_template(copy: Copy) -> None:
    """Another family's chat template."""
    copy.template = TEMPLATE


COPIES: tuple[Callable[[Copy], None], ...] = (
    clean,
    keys_doubled,
    kv_heads_swapped,
    rope_base,
    context_truncated,
    chat_template,
)


if __name__ == "__main__":
    for change in COPIES:
        made = Copy(Path(sys.argv[1]))
        change(made)
        made.write(Path(sys.argv[2]) / change.__name__)
