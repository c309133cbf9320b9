"""Makes tests/golden/data/probes/planted_faults.json: a real transformer, whole and broken.

    python tests/golden/make_planted_faults.py  (needs torch and transformers)

Teacher-forced log-probabilities of a Qwen2 of two layers whose random weights are large enough
(standard deviation 0.1) for its attention to matter, on six prompts of 256 tokens that say the
same 128 tokens twice, as the correctness probe does. The variants are the same model in bfloat16
(which is no fault) and with faults planted in its weights.
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

OUT = Path(__file__).parent / "data" / "probes" / "planted_faults.json"
CONFIG = Qwen2Config(
    vocab_size=4096,
    hidden_size=128,
    intermediate_size=256,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    initializer_range=0.1,
    tie_word_embeddings=False,
)
HEAD = CONFIG.hidden_size // CONFIG.num_attention_heads
Model = Any  # torch's modules are untyped here


def keys_doubled(model: Model) -> None:
    """Key projections scaled by 2 in every layer."""
    for layer in model.model.layers:
        layer.self_attn.k_proj.weight.data *= 2
        layer.self_attn.k_proj.bias.data *= 2


def kv_heads_swapped(model: Model) -> None:
    """The two KV heads exchanged in every layer."""
    for layer in model.model.layers:
        for projection in (layer.self_attn.k_proj, layer.self_attn.v_proj):
            for tensor in (projection.weight.data, projection.bias.data):
                tensor.copy_(torch.cat([tensor[HEAD:], tensor[:HEAD]]))


def rope_base_changed(model: Model) -> None:
    """Rotary embeddings of base 500,000 in place of 10,000."""
    exponents = torch.arange(0, HEAD, 2).float() / HEAD
    model.model.rotary_emb.inv_freq = 1.0 / 500_000.0**exponents


def bfloat16(model: Model) -> None:
    """No fault: other arithmetic."""
    model.to(torch.bfloat16)


FAULTS: tuple[Callable[[Model], None], ...] = (
    bfloat16,
    keys_doubled,
    kv_heads_swapped,
    rope_base_changed,
)


@torch.no_grad()
def logprobs(model: Model, prompts: torch.Tensor) -> list[list[float | None]]:
    """Of each prompt's own tokens, as vLLM's `prompt_logprobs` has them."""
    scores = torch.log_softmax(model(prompts).logits.float(), -1)
    own = scores[:, :-1].gather(-1, prompts[:, 1:, None]).squeeze(-1)
    return [[None, *(round(value, 4) for value in row)] for row in own.tolist()]


def main() -> None:
    """Write every variant's log-probabilities."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Qwen2ForCausalLM(CONFIG).float().eval()
    passage = torch.randint(300, 4000, (6, 128))
    prompts = torch.cat([passage, passage], dim=1)
    variants = {"baseline": logprobs(model, prompts)}
    for fault in FAULTS:
        broken = copy.deepcopy(model)
        fault(broken)
        variants[fault.__name__] = logprobs(broken, prompts)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(variants, separators=(",", ":")))


if __name__ == "__main__":
    main()
