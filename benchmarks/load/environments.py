"""Environments of their own for the peers: never the project's."""

import subprocess
import sys
from pathlib import Path
from shutil import which

PEERS = ("guidellm", "aiperf")

_TOKENIZER = """
import sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "nrstlm"]
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(
    vocab_size=1024,
    special_tokens=["<|end|>"],
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
)
tokenizer.train_from_iterator([" ".join(words)] * 20, trainer)
PreTrainedTokenizerFast(
    tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>", bos_token="<|end|>"
).save_pretrained(sys.argv[1])
"""


def environment(folder: Path, package: str) -> Path:
    """A Python with a package from PyPI, made at the first call; its `bin` folder."""
    home = folder / package
    python = home / "bin" / "python"
    if not (home / "done").exists():
        uv = which("uv", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
        if uv is not None:
            _run([uv, "venv", "-q", "--clear", "-p", sys.executable, str(home)])
            _run([uv, "pip", "install", "-q", "-p", str(python), package])
        else:
            _run([sys.executable, "-m", "venv", "--clear", str(home)])
            _run([str(python), "-m", "pip", "install", "-q", package])
        (home / "done").write_text(package)
    return home / "bin"


def tokenizer(folder: Path, python: Path) -> Path:
    """A small tokenizer that the peers insist on; trained here, for nothing is downloaded."""
    made = folder / "tokenizer"
    if not (made / "tokenizer.json").exists():
        _run([str(python), "-c", _TOKENIZER, str(made)])
    return made


def version(python: Path, package: str) -> str:
    """The installed version of a package."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run(
        [str(python), "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, timeout=900)
