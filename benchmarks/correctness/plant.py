"""Copies of a small Qwen2 model, each with one fault; runs in an environment with safetensors.

    python plant.py MODEL OUT

    python plant.py MODEL OUT --unseen

MODEL is what `.ci/tiny_model.py` makes; `--unseen` makes the copies that the gate's bounds were
not chosen by. Its random weights (standard deviation 0.02) are scaled by
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
UNSEEN_SCALE = 4.0
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

    def __init__(self, model: Path, scale: float = SCALE) -> None:
        self._model = model
        self.weights = {
            name: tensor * scale if tensor.dim() > 1 else tensor
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


def keys_scaled(copy: Copy) -> None:
    """Key projections scaled by 1.5 in every layer."""
    for name in copy.weights:
        if ".k_proj." in name:
            copy.weights[name] = copy.weights[name] * 1.5


def values_of_a_layer(copy: Copy) -> None:
    """Value projections of the second layer scaled by 1.5."""
    for name in copy.weights:
        if name.startswith("model.layers.1.") and ".v_proj." in name:
            copy.weights[name] = copy.weights[name] * 1.5


def last_kv_heads_swapped(copy: Copy) -> None:
    """The first two KV heads of the last layer exchanged, of however many there are."""
    last = f"model.layers.{copy.config['num_hidden_layers'] - 1}."
    for name in copy.weights:
        if name.startswith(last) and (".k_proj." in name or ".v_proj." in name):
            first, second, *rest = copy.weights[name].chunk(copy.config["num_key_value_heads"])
            copy.weights[name] = torch.cat([second, first, *rest])


def smaller_rope_base(copy: Copy) -> None:
    """Rotary embeddings of base 5,000 in place of 10,000."""
    copy.config["rope_parameters"] = {"rope_type": "default", "rope_theta": 5_000.0}


def context_of_2048(copy: Copy) -> None:
    """Attention that sees the last 2048 tokens only."""
    context_truncated(copy)
    copy.config["sliding_window"] = 2048


def no_generation_prompt(copy: Copy) -> None:
    """The chat template without the words that open the assistant's turn."""
    copy.template = copy.template.replace("{% if add_generation_prompt %}", "{% if false %}")


def a_layer_lost(copy: Copy) -> None:
    """The last layer adds nothing."""
    last = f"model.layers.{copy.config['num_hidden_layers'] - 1}."
    for name in copy.weights:
        if name.startswith(last) and (".o_proj." in name or ".down_proj." in name):
            copy.weights[name] = copy.weights[name] * 0


def eight_bit_weights(copy: Copy) -> None:
    """No fault: every matrix rounded to 8 bits, a scale per row."""
    for name, tensor in copy.weights.items():
        if tensor.dim() > 1:
            wide = tensor.float()
            step = wide.abs().amax(dim=1, keepdim=True) / 127
            copy.weights[name] = ((wide / step).round() * step).to(tensor.dtype)


COPIES: tuple[Callable[[Copy], None], ...] = (
    clean,
    keys_doubled,
    kv_heads_swapped,
    rope_base,
    context_truncated,
    chat_template,
)
UNSEEN: tuple[Callable[[Copy], None], ...] = (
    clean,
    eight_bit_weights,
    keys_scaled,
    values_of_a_layer,
    last_kv_heads_swapped,
    smaller_rope_base,
    context_of_2048,
    no_generation_prompt,
    a_layer_lost,
)


if __name__ == "__main__":
    unseen = sys.argv[3:] == ["--unseen"]
    for change in UNSEEN if unseen else COPIES:
        made = Copy(Path(sys.argv[1]), UNSEEN_SCALE if unseen else SCALE)
        change(made)
        made.write(Path(sys.argv[2]) / change.__name__)
