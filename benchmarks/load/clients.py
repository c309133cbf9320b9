"""The clients: how each is started, and how its own account of each request is read.

A request of a client's account is (key, TTFT in ns, output tokens, whether it succeeded). The key
finds the server's account of the same request: the id that the client sent in `X-Request-Id`, the
number at that id's end, or the id of the answer.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Request = tuple[str, float | None, int, bool]


@dataclass(frozen=True)
class Job:
    """One load: closed loop, answers of exactly so many tokens."""

    url: str
    requests: int
    concurrency: int
    tokens: int
    folder: Path


@dataclass(frozen=True)
class LoadClient:
    """A load generator under test."""

    name: str
    version: str
    command: Callable[[Job], list[str]]
    read: Callable[[Job], list[Request]]


def ours(version: str) -> LoadClient:
    """Autotune as it stands, with as many processes as it takes by itself."""
    return LoadClient(
        "autotune",
        version,
        lambda job: [
            sys.executable,
            "-m",
            "benchmarks.load.ours",
            job.url,
            str(job.requests),
            str(job.concurrency),
            str(job.tokens),
            str(job.folder / "ours.json"),
        ],
        lambda job: [tuple(row) for row in _json(job.folder / "ours.json")["requests"]],
    )


def vllm_bench(python: Path, version: str, tokenizer: Path) -> LoadClient:
    """`vllm bench serve` of a given environment."""
    return LoadClient(
        "vllm bench serve",
        version,
        lambda job: [
            str(python.with_name("vllm")),
            "bench",
            "serve",
            "--backend",
            "openai",
            "--base-url",
            job.url,
            "--endpoint",
            "/v1/completions",
            "--model",
            "golden",
            "--tokenizer",
            str(tokenizer),
            "--dataset-name",
            "random",
            "--random-input-len",
            "64",
            "--random-output-len",
            str(job.tokens),
            "--num-prompts",
            str(job.requests),
            "--max-concurrency",
            str(job.concurrency),
            "--ignore-eos",
            "--disable-tqdm",
            "--save-result",
            "--save-detailed",
            "--result-dir",
            str(job.folder),
            "--result-filename",
            "vllm.json",
        ],
        _read_vllm,
    )


def _read_vllm(job: Job) -> list[Request]:
    row = _json(job.folder / "vllm.json")
    return [
        (str(index), ttft * 1e9 if ttft else None, tokens, not error)
        for index, (ttft, tokens, error) in enumerate(
            zip(row["ttfts"], row["output_lens"], row["errors"], strict=True)
        )
    ]


def guidellm(folder: Path, version: str, tokenizer: Path) -> LoadClient:
    """`guidellm run` with its concurrent profile."""
    return LoadClient(
        "guidellm",
        version,
        lambda job: [
            str(folder / "guidellm"),
            "run",
            "--backend",
            f"kind=openai_http,target={job.url},model=golden,request_format=/v1/completions",
            "--profile",
            f"kind=concurrent,streams={job.concurrency}",
            "--constraint",
            f"kind=max_requests,count={job.requests}",
            "--tokenizer",
            f"kind=hf_auto,model={tokenizer}",
            "--data",
            f"kind=synthetic_text,prompt_tokens=64,output_tokens={job.tokens}",
            "--metrics",
            "kind=generative,sample_size=0",
            "--output",
            f"kind=json,path={job.folder / 'guidellm.json'}",
            "--disable-console",
        ],
        _read_guidellm,
    )


def _read_guidellm(job: Job) -> list[Request]:
    requests = _json(job.folder / "guidellm.json")["benchmarks"][0]["requests"]
    return [
        _guidellm_request(row, group == "successful")
        for group in ("successful", "errored", "incomplete")
        for row in requests.get(group) or ()
    ]


def _guidellm_request(row: Mapping[str, Any], succeeded: bool) -> Request:
    timings = row["info"]["timings"]
    start, first = timings["request_start"], timings["first_token_iteration"]
    ttft = None if first is None or start is None else (first - start) * 1e9
    return (
        row["response_id"] or "",
        ttft,
        (row["output_metrics"] or {}).get("total_tokens") or 0,
        succeeded,
    )


def aiperf(folder: Path, version: str, tokenizer: Path) -> LoadClient:
    """`aiperf profile` with per-request records."""
    return LoadClient(
        "aiperf",
        version,
        lambda job: [
            str(folder / "aiperf"),
            "profile",
            "-m",
            "golden",
            "--url",
            job.url,
            "--endpoint-type",
            "completions",
            "--streaming",
            "--concurrency",
            str(job.concurrency),
            "--request-count",
            str(job.requests),
            "--tokenizer",
            str(tokenizer),
            "--isl",
            "64",
            "--osl",
            str(job.tokens),
            "--extra-inputs",
            "ignore_eos:true",
            "--use-server-token-count",
            "--artifact-dir",
            str(job.folder / "aiperf"),
            "--ui",
            "none",
            "--export-level",
            "records",
        ],
        _read_aiperf,
    )


def _read_aiperf(job: Job) -> list[Request]:
    lines = (job.folder / "aiperf" / "profile_export.jsonl").read_text().splitlines()
    requests = []
    for line in lines:
        row = json.loads(line)
        metrics = row["metrics"]
        ttft = metrics.get("time_to_first_token")
        requests.append(
            (
                row["metadata"]["x_request_id"],
                None if ttft is None else ttft["value"] * 1e6,
                int(metrics.get("usage_completion_tokens", {"value": 0})["value"]),
                row.get("error") is None,
            )
        )
    return requests


def _json(path: Path) -> Any:
    return json.loads(path.read_text())
