"""Read what releases of vLLM print, from the packages themselves, into golden files.

    python tests/golden/read_vllm_texts.py 0.33.0 0.34.0
    python tests/golden/read_vllm_texts.py 0.33.0=unpacked/vllm-0.33.0/vllm

Each release is downloaded with pip into a temporary folder, or read from a folder that holds its
unpacked package. Written are, per release, `data/vllm_logs/` (lines of the start-up log that are
parsed), `data/vllm_failures/` (texts that are named) and `data/vllm_metrics/` (metric families).
A text is kept as its template: `%.2f` and `{expression}` stand for what vLLM fills in. A text that
a release no longer has is an empty list, so a renamed one breaks a test and not a study.
"""

import ast
import json
import re
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from read_wheel_flags import download

DATA: Final = Path(__file__).parent / "data"

LOG: Final = {
    "engine": "Initializing a V1 LLM engine (v%s)",
    "weights_time": "Loading weights took %.2f seconds",
    "model": "Model loading took",
    "compile": " %.2f s in total",
    "graphs": "Graph capturing finished",
    "graphs_estimate": "Estimated CUDA graph memory",
    "kv_memory": "Available KV cache memory",
    "kv_reserved": "memory for KV Cache as specified",
    "kv_tokens": "KV cache size: %s tokens",
    "ledger": "Actual usage is",
    "batch": "Chunked prefill is enabled with max_num_batched_tokens=%d.",
    "async": "Asynchronous scheduling is %s.",
    "backend": "attention backend out of potential backends",
    "backend_asked": "Using %s backend.",
    "backend_v1": " backend on V1 engine.",
}

FAILURES: Final = {
    "kv_too_small": "To serve at least one request with the model",
    "kv_too_small_v0": "is larger than the maximum number of tokens that can be stored in KV cache",
    "no_room": "No available memory for the cache blocks",
    "auto_fit": "Cannot auto-fit max_model_len",
    "memory_taken": "on startup is less than desired GPU memory utilization",
    "memory_moved": "Error in memory profiling.",
    "sampler": "CUDA out of memory occurred when warming up sampler",
    "load": "Failed to load model - not enough GPU memory",
    "mamba": "exceeds available Mamba cache blocks",
    "shm": "MiB required, {free_bytes / mib:.0f} MiB free",
    "cgroup": "Cgroup memory preflight for",
    "cpu_kv": "on kv cache allocation is less than requested memory for kv",
    "cpu_reserved": "of CPU memory reserved for it on node",
    "swap": "Too large swap space.",
    "cpu_blocks": "num_cpu_blocks must be specified in kv_connector_extra_config",
    "cpu_bytes": "cpu_bytes_to_use must be specified in kv_connector_extra_config",
    "hma": "does not support HMA but HMA is enabled",
    "unify": "failed to convert the KV cache specs to one unified type",
    "unify_later": "Failed to promote local KV cache specs to one unified type",
    "offload_platform": "CPU Offloading is currently only supported on CUDA",
    "expandable": "is incompatible with PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
    "offload_size": "You must set kv_offloading_size when kv_offloading_backend is set",
    "uva": "UVA is not available",
    "backend_invalid": "Selected backend {selected_backend} is not valid",
    "backend_none": "No valid attention backend found for {",
    "backend_unknown": "Invalid attention backend: '{",
    "backend_unknown_later": "Unknown attention backend: '{",
    "triton_fp8": "FP8 KV cache is not supported by the Triton attention backend",
    "flash_fp8": "FlashAttention does not support fp8 kv-cache on this device",
    "cpu_fp8": "FP8 KV cache on CPU requires",
    "e5m2": "fp8_e5m2 kv-cache is not supported with fp8 checkpoints",
    "block_size": "No common block size for {",
    "bfloat16": "Bfloat16 is only supported on GPUs with compute capability of at least",
    "quantization": "is not supported for the current GPU. Minimum capability: {quant",
    "flashinfer": "VLLM_ATTENTION_BACKEND is set to FLASHINFER, but",
    "batch_seqs": "must be greater than or equal to max_num_seqs ({",
    "batch_length": "is smaller than max_model_len ({",
    "length": "is greater than the derived max_model_len ({",
    "async_pp": "Async scheduling is not supported with pipeline-parallel-size",
    "async_pp_later": "Async scheduling is not yet compatible with",
    "async_v1": "Async scheduling is not supported by the V1 model runner with {",
    "multi_step": "Multi-step scheduling is not supported (and not needed)",
    "v1_only": "Using V1 AsyncLLMEngine, but envs.VLLM_USE_V1=False",
    "environment": "Invalid value '{value}' for {env_name}",
    "repository": "Invalid repository ID or local directory specified: '{",
    "device": "Failed to infer device type",
    "fatal": "EngineCore encountered a fatal error.",
    "engine_dead": "EngineCore encountered an issue. See stack trace (above)",
    "engine_core": "Engine core initialization failed. See root cause above.",
    "engine_start": "EngineCore failed to start.",
    "worker_start": "WorkerProc initialization failed due to an exception",
    "broadcast": "No available shared memory broadcast block found",
    "rpc": "RPC call to {method} timed out.",
    "start_wait": "Timed out waiting for engine",
}

_METRIC: Final = re.compile(r"vllm:[a-z][a-z0-9_]*[a-z0-9]")


def texts(root: Path) -> Iterator[str]:
    """Every text of a package as a template, docstrings included."""
    for path in sorted(root.rglob("*.py")):
        if "/benchmarks/" in str(path):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            template = _template(node)
            if template is not None:
                yield template


def _template(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_part(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _template(node.left), _template(node.right)
        return left + right if left is not None and right is not None else None
    return None


def _part(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if not isinstance(node, ast.FormattedValue):
        return ""
    form = _template(node.format_spec) if node.format_spec is not None else None
    return "{" + ast.unparse(node.value) + (f":{form}" if form else "") + "}"


def matching(found: set[str], fragments: dict[str, str]) -> dict[str, list[str]]:
    """Templates by key; a part of a longer one is left out."""
    chosen = {}
    for key, fragment in fragments.items():
        hits = [t for t in found if fragment in t and len(t) < 1500 and "\n    " not in t]
        chosen[key] = sorted(t for t in hits if not any(t != o and t in o for o in hits))
    return chosen


def unpack(archive: Path, folder: Path) -> Path:
    """Take the Python files out of an archive; gives the package's folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for member_name in wheel.namelist():
                if member_name.startswith("vllm/") and member_name.endswith(".py"):
                    wheel.extract(member_name, folder)
        return folder / "vllm"
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            if member.isfile() and member.name.endswith(".py") and "/vllm/" in member.name:
                tar.extract(member, folder, filter="data")
    return next(folder.glob("*/vllm"))


def write(release: str, root: Path) -> None:
    """Read one release and write its three goldens."""
    found = set(texts(root))
    metrics = sorted(t for t in found if _METRIC.fullmatch(t))
    for folder, content in (
        ("vllm_logs", matching(found, LOG)),
        ("vllm_failures", matching(found, FAILURES)),
        ("vllm_metrics", {"families": metrics}),
    ):
        path = DATA / folder / f"vllm-{release}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(path)  # noqa: T201


def main(arguments: list[str]) -> int:
    """Read every release that is named."""
    for argument in arguments:
        release, _, folder = argument.partition("=")
        if folder:
            write(release, Path(folder))
            continue
        with tempfile.TemporaryDirectory() as name:
            archive = download(f"vllm=={release}", Path(name))
            write(release, unpack(archive, Path(name) / "unpacked"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
