"""How many requests per second of wall time the simulated engine gets through.

    python benchmarks/simulated/requests_per_second.py [--requests 5000] [--card h100]

Qwen2.5-7B's shape, 100 requests at once, 512 prompt and 128 output tokens, as in the probe
`throughput`. Prints one JSON object. Run it on an idle machine; it uses one core.
"""

import argparse
import json
import platform
from dataclasses import replace

from autotune.clock import MonotonicClock
from autotune.engines.model_shape import shape_of
from autotune.engines.simulated.card import card_named
from autotune.engines.simulated.release import release_named
from autotune.engines.simulated.replay import Replay, replayed_metrics
from autotune.seams.engine import ModelFacts
from autotune.spec.workload import Workload

MODEL = ModelFacts(
    name="qwen2.5-7b",
    config={
        "model_type": "qwen2",
        "num_hidden_layers": 28,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "max_position_embeddings": 32768,
    },
)


def main() -> None:
    """Play a load and divide."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--card", default="h100")
    parser.add_argument("--release", default="0.26.0")
    asked = parser.parse_args()
    workload = Workload(
        requests=asked.requests,
        concurrency=asked.concurrency,
        warmup_requests=0,
        long_context_tokens=(8192,),
    )
    replay = Replay(
        argv=("vllm", "serve", "m"),
        shape=shape_of(MODEL),
        release=release_named(asked.release),
        workload=workload,
    )
    card = card_named(asked.card)
    replayed_metrics(card, replace(replay, workload=Workload(requests=200)))  # warm caches
    clock = MonotonicClock()
    start = clock.now_ns()
    metrics = replayed_metrics(card, replay)
    took_s = (clock.now_ns() - start) / 1e9
    tokens = asked.requests * (workload.prompt_tokens + workload.output_tokens)
    simulated_s = asked.requests * workload.output_tokens / metrics["output_tokens_per_s"]
    print(
        json.dumps(
            {
                "card": card.name,
                "requests": asked.requests,
                "concurrency": asked.concurrency,
                "wall_s": round(took_s, 3),
                "requests_per_wall_s": round(asked.requests / took_s),
                "tokens_per_wall_s": round(tokens / took_s),
                "simulated_s_per_wall_s": round(simulated_s / took_s),
                "python": platform.python_version(),
            }
        )
    )


if __name__ == "__main__":
    main()
