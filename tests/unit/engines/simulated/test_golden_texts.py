"""Every line and refusal is a text of the very release that is imitated.

The templates in `tests/golden/data` were read from the releases' own source files; where a
release has none for a line, it must not be written.
"""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from autotune.clock import VirtualClock
from autotune.engines.simulated import words
from autotune.engines.simulated.card import card_named
from autotune.engines.simulated.release import release_named
from tests.unit.engines.simulated.rig import QWEN_7B, deployer_of, launch, machine_of, started

_DATA: Final = Path(__file__).parents[3] / "golden" / "data"
_RELEASES: Final = sorted(p.stem.removeprefix("vllm-") for p in _DATA.glob("vllm_logs/*.json"))
_HOLE: Final = re.compile(r"\{[^{}]*\}|%\.?\d*[sdf]")
_GIB: Final = 2**30


def _templates(folder: str, release: str) -> dict[str, list[str]]:
    content: dict[str, list[str]] = json.loads(
        (_DATA / folder / f"vllm-{release}.json").read_text(encoding="utf-8")
    )
    return content


def _matches(text: str, templates: list[str]) -> bool:
    """Whether a text is one of these with its holes filled; gaps between words do not count."""
    plain = " ".join(text.split())
    for template in templates:
        parts = [re.escape(" ".join(p.split())) for p in _HOLE.split(template)]
        if re.fullmatch(r"\s*.*?\s*".join(parts), plain):
            return True
    return False


_LINES: Final = {
    "engine": "Initializing a V1",
    "weights_time": "Loading weights took",
    "model": "Model loading took",
    "compile": "torch.compile t",
    "graphs": "Graph capturing finished",
    "graphs_estimate": "Estimated CUDA graph memory",
    "kv_memory": "Available KV cache memory",
    "kv_tokens": "KV cache size: ",
    "ledger": "Actual usage is",
    "batch": "Chunked prefill is enabled",
    "async": "Asynchronous scheduling is",
    "backend": "potential backends",
    "backend_v1": "backend on V1 engine",
    "kv_reserved": "skipped memory profiling",
}


def _log(release: str, tmp_path: Path, *options: str) -> list[str]:
    clock = VirtualClock()
    deployer = deployer_of(clock, machine_of(card_named("h100"), QWEN_7B, release))
    log = tmp_path / "engine.log"
    plan = launch(*options, env={"VLLM_LOGGING_LEVEL": "DEBUG"})
    assert started(clock, deployer, plan, log).server is not None, log.read_text()[-800:]
    lines = log.read_text(encoding="utf-8").splitlines()
    return [line.partition("] ")[2] for line in lines if "] " in line]


@pytest.mark.parametrize("release", _RELEASES)
def test_a_start_writes_the_lines_of_its_release(release: str, tmp_path: Path) -> None:
    """Each known line has the release's wording, and is there exactly if the release has it."""
    texts = _log(release, tmp_path)
    texts += _log(release, tmp_path, "--attention-backend", "FLASHINFER") if (
        release_named(release).backend_flag
    ) else []  # fmt: skip
    if release_named(release).since(0, 10, 2):
        texts += _log(release, tmp_path, "--kv-cache-memory-bytes", str(4 * _GIB))
    templates = _templates("vllm_logs", release)
    for name, mark in _LINES.items():
        written = [text for text in texts if mark in text]
        if mark.startswith("Estimated CUDA graph") and not release_named(release).graphs_in_budget:
            assert written == []  # the text is in the release, on the runner that is not used
            continue
        assert bool(written) == bool(_about(templates[name], mark)), (name, written)
        for text in written:
            assert _matches(text, templates[name]), (name, text, templates[name])


def _about(templates: list[str], mark: str) -> list[str]:
    """Templates of ordinary decoders: not those for other attention or for tracing."""
    known = [t for t in templates if mark in _HOLE.sub("", t) or _HOLE.search(t)]
    return [t for t in known if "MLA" not in t and "Fake" not in t and "Rocm" not in t
            and "Aiter" not in t and "AITER" not in t and "Triton Attention" not in t]  # fmt: skip


def _refusals(release_name: str) -> dict[str, str | None]:
    release = release_named(release_name)
    return {
        "kv_too_small": words.too_long(release, 32768, 2 * _GIB, _GIB, 16384),
        "no_room": words.no_blocks(release),
        "auto_fit": words.no_auto_length() if release.since(0, 14) else None,
        "memory_taken": words.free_memory(release, 8 * _GIB, 12 * _GIB, 0.9, 10 * _GIB)
        if release.since(0, 9, 2)
        else None,
        "sampler": words.sampler_warmup(256),
        "load": words.weights_hint(release) if not release.since(0, 28) else None,
        "shm": words.no_shm(release, 32 * _GIB, 64 * 2**20) if release.since(0, 28) else None,
        "hma": words.offload_hma() if release.since(0, 11, 1) else None,
        "expandable": words.offload_expandable() if release.since(0, 26) else None,
        "offload_size": words.offload_without_size()
        if release.since(0, 11, 1) and not release.since(0, 14)
        else None,
        "cpu_blocks": words.offload_unset()
        if release.since(0, 11) and not release.since(0, 14)
        else None,
        "backend_invalid": words.invalid_backend(release, "FLASH_ATTN", ["x"])
        if release.since(0, 11, 1)
        else None,
        "backend_none": words.no_backend(128, "fp8", 16) if release.since(0, 11, 1) else None,
        "triton_fp8": words.triton_fp8(release, "NVIDIA A10", (8, 6))
        if release.since(0, 24)
        else None,
        "batch_seqs": words.too_few_tokens(64, 128),
        "batch_length": words.short_batch(2048, 4096),
        "length": words.over_length(release, 99999, 32768),
        "engine_dead": words.ENGINE_DEAD,
    }


@pytest.mark.parametrize("release", _RELEASES)
def test_a_refusal_has_the_words_of_its_release(release: str) -> None:
    """Without the exception's class, the text is one of the release's templates."""
    templates = _templates("vllm_failures", release)
    checked = 0
    for name, text in _refusals(release).items():
        if text is None:
            continue
        message = text.partition("Error: ")[2] or text.partition("Exception: ")[2] or text
        assert _matches(message, templates[name]), (name, message, templates[name])
        checked += 1
    assert checked >= 7


@pytest.mark.parametrize("release", _RELEASES)
def test_metrics_have_the_names_of_their_release(release: str, tmp_path: Path) -> None:
    """Every family of /metrics is one that the release's files name."""
    clock = VirtualClock()
    deployer = deployer_of(clock, machine_of(card_named("h100"), QWEN_7B, release))
    options = ("--kv-offloading-size", "4") if release_named(release).since(0, 21) else ()
    up = started(clock, deployer, launch(*options), tmp_path / "engine.log").server
    assert up is not None
    families = set(_templates("vllm_metrics", release)["families"])
    names = re.findall(r"^(vllm:\w+)\{", up.get("/metrics").text, re.MULTILINE)
    assert len(names) >= 8
    assert not [n for n in names if not {n, n.removesuffix("_total")} & families]
