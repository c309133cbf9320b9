"""Makes a language model of 3 MB to serve in tests: random weights, its own tokenizer.

Usage: python tiny_model.py OUT [--seed N] [--hidden-size N] [--layers N] [--kv-heads N]
    [--always-text]
(in an environment that holds transformers and torch)

A two-layer Qwen2 with a byte-level BPE tokenizer trained on made-up words and a chat template.
Everything comes from one seed, so two machines make the same model. Another seed or size makes
another model with the same tokenizer. It knows nothing: greedily it may say nothing but a special
token, whose text a server leaves out, or half a character, which `--always-text` keeps from ever
being the likeliest. It has the files, the shapes and the vocabulary that an engine needs.
"""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

SEED = 20260101
VOCABULARY = 4096
POSITIONS = 32768
END = "<|endoftext|>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def sentences(count: int) -> Iterator[str]:
    """Sentences of made-up words, the short ones more frequent, as in a language."""
    rng = random.Random(SEED)  # noqa: S311 - the same words everywhere
    syllables = [c + v for c in "bdfgklmnprstvz" for v in ("a", "e", "i", "o", "u", "an", "er")]
    words = ["".join(rng.choices(syllables, k=1 + i % 4)) for i in range(6000)]
    weights = [1 / (1 + i) ** 0.7 for i in range(len(words))]
    for _ in range(count):
        yield " ".join(rng.choices(words, weights, k=rng.randint(4, 24))).capitalize() + "."


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: every text can be encoded and read back."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, TURN_START, TURN_END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences(20_000), trainer)
    if tokenizer.get_vocab_size() != VOCABULARY:
        message = f"the tokenizer has {tokenizer.get_vocab_size()} entries, not {VOCABULARY}"
        raise SystemExit(message)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=END,
        chat_template=CHAT_TEMPLATE,
        model_max_length=POSITIONS,
        clean_up_tokenization_spaces=False,
    )


def make_model(
    tokenizer: PreTrainedTokenizerFast, *, seed: int, hidden: int, layers: int, kv_heads: int
) -> Qwen2ForCausalLM:
    """Layers of random weights; a head has 32 dimensions."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=kv_heads,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="bfloat16",
    )
    return Qwen2ForCausalLM(config).to(torch.bfloat16)


def silence_tokens_without_text(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Give each token that has no text of its own the logit 0, below the best of the others."""
    for token in range(VOCABULARY):
        text = tokenizer.decode([token], skip_special_tokens=True)
        if not text or "\N{REPLACEMENT CHARACTER}" in text:
            model.lm_head.weight.data[token] = 0


def main() -> None:
    """Write the model's folder; an existing whole one is left alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--kv-heads", type=int, default=2)
    parser.add_argument(
        "--always-text", action="store_true", help="never a greedy token without text"
    )
    asked = parser.parse_args()
    out = asked.out
    if (out / "made.json").is_file():
        print(f"tiny_model: {out} is already there")
        return
    tokenizer = make_tokenizer()
    model = make_model(
        tokenizer,
        seed=asked.seed,
        hidden=asked.hidden_size,
        layers=asked.layers,
        kv_heads=asked.kv_heads,
    )
    if asked.always_text:
        silence_tokens_without_text(model, tokenizer)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    for file in out.iterdir():
        file.chmod(0o644)  # safetensors writes 0600: a container's user could not read it
    parameters = sum(p.numel() for p in model.parameters())
    (out / "made.json").write_text(
        json.dumps({"seed": asked.seed, "parameters": parameters}) + "\n"
    )
    print(f"tiny_model: {parameters:,} parameters in {out}")


if __name__ == "__main__":
    main()
