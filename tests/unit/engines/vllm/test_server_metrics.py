"""Reading /metrics."""

import pytest

from autotune.engines.vllm.server_metrics import cache_config, gauges, metric_names, samples

KEYS = {
    "kv_usage_ratio", "requests_running_count", "requests_waiting_count", "preemptions_count",
    "prefix_queries_tokens", "prefix_hits_tokens", "offload_queries_tokens",
    "offload_hits_tokens", "prompt_tokens", "generation_tokens",
}  # fmt: skip

# As vLLM 0.26.0 writes it.
EXPOSITION = """\
# HELP python_info Python platform information
# TYPE python_info gauge
python_info{implementation="CPython",major="3"} 1.0
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
# TYPE vllm:num_preemptions_total counter
vllm:num_preemptions_total{engine="0",model_name="m"} 7.0
# TYPE vllm:num_preemptions_created gauge
vllm:num_preemptions_created{engine="0",model_name="m"} 1.7e+09
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 1000.0
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 640.0
# TYPE vllm:external_prefix_cache_queries_total counter
vllm:external_prefix_cache_queries_total{engine="0",model_name="m"} 360.0
# TYPE vllm:external_prefix_cache_hits_total counter
vllm:external_prefix_cache_hits_total{engine="0",model_name="m"} 64.0
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="m"} 1234.0
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="m"} 567.0
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",cache_dtype="fp8_e4m3",num_gpu_blocks="9362"} 1.0
"""


def test_every_figure_of_the_seam_is_read() -> None:
    """Once each, under its engine-neutral name."""
    assert gauges(EXPOSITION) == {
        "kv_usage_ratio": 0.25,
        "requests_running_count": 3.0,
        "requests_waiting_count": 2.0,
        "preemptions_count": 7.0,
        "prefix_queries_tokens": 1000.0,
        "prefix_hits_tokens": 640.0,
        "offload_queries_tokens": 360.0,
        "offload_hits_tokens": 64.0,
        "prompt_tokens": 1234.0,
        "generation_tokens": 567.0,
    }
    assert set(metric_names().figures) == KEYS


def test_the_first_engine_s_names() -> None:
    """0.8.5 called the KV cache the GPU cache; there is no external cache."""
    old = "vllm:gpu_cache_usage_perc 0.5\nvllm:gpu_prefix_cache_queries_total 10\n"
    read = gauges(old + "vllm:gpu_prefix_cache_hits_total 4\n")
    assert read["kv_usage_ratio"] == 0.5
    assert read["prefix_queries_tokens"] == 10
    assert read["prefix_hits_tokens"] == 4
    assert read["offload_queries_tokens"] is None


def test_the_newest_name_wins_where_a_release_gives_both() -> None:
    """0.9.2 to 0.11.2 did; they are not added up."""
    both = "vllm:kv_cache_usage_perc 0.5\nvllm:gpu_cache_usage_perc 0.4\n"
    assert gauges(both)["kv_usage_ratio"] == 0.5


def test_several_engines_add_up_and_usage_is_the_fullest() -> None:
    """Data parallel: one sample per engine."""
    text = "".join(
        f'vllm:num_requests_running{{engine="{i}"}} {n}\nvllm:kv_cache_usage_perc{{engine="{i}"}} '
        f"{usage}\n"
        for i, (n, usage) in enumerate(((3, 0.2), (4, 0.9)))
    )
    assert gauges(text)["requests_running_count"] == 7
    assert gauges(text)["kv_usage_ratio"] == 0.9


@pytest.mark.parametrize(
    "text",
    ["", "<html>502 Bad Gateway</html>", "{}", "\x00\x01", "vllm:num_requests_running{", "a b c d"],
)
def test_garbage_gives_none_for_everything(text: str) -> None:
    """A server that answers with an error page must not end a trial."""
    assert gauges(text) == dict.fromkeys(KEYS)
    assert cache_config(text) == {}


def test_figures_before_a_broken_line_are_kept() -> None:
    """An answer that was cut off."""
    cut = EXPOSITION[: EXPOSITION.index("# TYPE vllm:prompt_tokens_total")] + "vllm:prompt_tok{"
    assert gauges(cut)["preemptions_count"] == 7.0
    assert gauges(cut)["prompt_tokens"] is None


@pytest.mark.parametrize("value", ["NaN", "+Inf"])
def test_what_is_no_number_is_not_measured(value: str) -> None:
    """Not 0, and not a figure."""
    assert gauges(f"vllm:kv_cache_usage_perc {value}\n")["kv_usage_ratio"] is None


def test_labels_of_the_cache_configuration() -> None:
    """As strings."""
    assert cache_config(EXPOSITION) == {
        "block_size": "16", "cache_dtype": "fp8_e4m3", "num_gpu_blocks": "9362",
    }  # fmt: skip
    assert len(samples(EXPOSITION)) == 13
