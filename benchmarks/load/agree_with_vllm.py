r"""Do autotune and `vllm bench serve` measure the same server alike?

    python -m benchmarks.load.agree_with_vllm --url http://127.0.0.1:8000 --model NAME \
        --vllm-python /path/to/env/bin/python --tokenizer PATH

Both send the same number of requests with prompts and answers of the same lengths, in a closed
loop, in turn (ours first, then theirs first, and so on). Reported is ours / theirs for output
tokens/s over the whole run, as vLLM computes it, and for the median TTFT, with a 95% interval over
the pairs.
"""

import argparse
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from autotune.clock import MonotonicClock
from autotune.load import formulas
from autotune.load.connect import http_connector
from autotune.load.formulas import Window
from autotune.seams.requests import GenerationRequest, LoadPlan, LoadResult, Prompt, Segment

CLOCK = MonotonicClock()


@dataclass(frozen=True)
class Figures:
    """What one client says of one load."""

    output_tokens_per_s: float
    ttft_p50_ms: float


def ours(arguments: argparse.Namespace, salt: int) -> Figures:
    """Our figures, by the same formulas."""

    async def load() -> LoadResult:
        connect = http_connector(CLOCK)
        async with connect(base_url=arguments.url, model=arguments.model) as connection:
            await connection.client.generate(_request(arguments, salt, -1))
            return await connection.load.run(
                LoadPlan(
                    requests=tuple(_request(arguments, salt, i) for i in range(arguments.requests)),
                    concurrency=arguments.concurrency,
                )
            )

    result = CLOCK.run(load())
    failed = [r.error for r in result.records if r.error is not None]
    assert not failed, failed[:3]
    whole = Window(start_ns=result.start_ns, end_ns=result.end_ns + 1)
    return Figures(
        formulas.output_tokens_per_s(result.records, whole),
        formulas.median(formulas.ttfts_ns(result.records)) / 1e6,
    )


def _request(arguments: argparse.Namespace, salt: int, index: int) -> GenerationRequest:
    return GenerationRequest(
        request_id=f"agree-{salt}-{index}",
        prompt=Prompt(segments=(Segment(salt * 1_000_003 + index, arguments.input_tokens),)),
        max_tokens=arguments.output_tokens,
    )


def theirs(arguments: argparse.Namespace, salt: int, folder: Path) -> Figures:
    """What `vllm bench serve` writes."""
    command = [
        str(arguments.vllm_python.with_name("vllm")), "bench", "serve", "--backend", "openai",
        "--base-url", arguments.url, "--endpoint", "/v1/completions",
        "--model", arguments.model, "--tokenizer", str(arguments.tokenizer),
        "--dataset-name", "random", "--random-input-len", str(arguments.input_tokens),
        "--random-output-len", str(arguments.output_tokens), "--seed", str(salt),
        "--num-prompts", str(arguments.requests),
        "--max-concurrency", str(arguments.concurrency), "--ignore-eos", "--disable-tqdm",
        "--temperature", "0", "--save-result", "--result-dir", str(folder),
        "--result-filename", "vllm.json",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=900)
    row = json.loads((folder / "vllm.json").read_text())
    assert row["completed"] == arguments.requests, row
    return Figures(row["output_throughput"], row["median_ttft_ms"])


def main() -> None:
    """Run the pairs, print each and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True, help="name under which the server serves")
    parser.add_argument("--vllm-python", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--input-tokens", type=int, default=256)
    parser.add_argument("--output-tokens", type=int, default=64)
    arguments = parser.parse_args()
    pairs: list[tuple[Figures, Figures]] = []
    with tempfile.TemporaryDirectory(prefix="autotune-bench-") as temporary:
        folder = Path(temporary)
        ours(arguments, 1000)  # the server's own warm-up
        for pair in range(arguments.pairs):
            if pair % 2 == 0:
                mine = ours(arguments, pair)
                other = theirs(arguments, pair, folder)
            else:
                other = theirs(arguments, pair, folder)
                mine = ours(arguments, pair)
            pairs.append((mine, other))
            print(f"pair {pair}: autotune {mine}, vllm bench serve {other}", flush=True)
    for name in ("output_tokens_per_s", "ttft_p50_ms"):
        ratios = [getattr(mine, name) / getattr(other, name) for mine, other in pairs]
        mean = sum(ratios) / len(ratios)
        interval = formulas.mean_interval(ratios)
        shown = "" if interval is None else f" (95%: {interval.low:.3f} to {interval.high:.3f})"
        print(f"{name}: ours / theirs = {mean:.3f}{shown}")


if __name__ == "__main__":
    main()
