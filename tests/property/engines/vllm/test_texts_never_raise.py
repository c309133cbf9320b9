"""Whatever a server prints or answers, reading it raises nothing and stays within its types."""

from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.engines.vllm.applied import Statement, compare
from autotune.engines.vllm.failures import explain
from autotune.engines.vllm.logs import kv_cache_tokens, ledger, milestones
from autotune.engines.vllm.server_metrics import cache_config, gauges, metric_names
from autotune.records import Configuration
from autotune.seams.deployment import ExitEvidence
from autotune.seams.engine import Capabilities, Evidence

FRAGMENTS = st.sampled_from([
    "Traceback (most recent call last):\n", '  File "x.py", line 1, in load_model\n',
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate ", "2.00 GiB. ", "of which ",
    " is free", "the estimated maximum model length is ", "To serve at least one request with the ",
    "models's max seq len (", "), (", " GiB KV cache is needed", "Free memory on device (", "/",
    " GiB) on startup", "error: ", "unrecognized arguments: --x", "Available KV cache memory: ",
    "Model loading took ", " GiB and ", " seconds", "GPU KV cache size: ", " tokens",
    "Actual usage is ",
    "Failed core proc(s): {'EngineCore': -9}", "\x1b[0;36m", "\r", "\n", "(EngineCore pid=1) ",
    "INFO 02-30 25:61:61 [x.py:1] ", "INFO 12-31 23:59:59 [x.py:1] ", "1,2,3", "9" * 30,
    "-0.45", "..",
])  # fmt: skip
LOGS = st.lists(FRAGMENTS | st.text(max_size=20), max_size=30).map("".join)
EXITS = st.none() | st.builds(
    ExitEvidence,
    exit_code=st.none() | st.integers(-15, 255),
    signal=st.none() | st.integers(1, 15),
    oom_killed=st.none() | st.booleans(),
    stopped_by_us=st.booleans(),
)


@given(log=LOGS, ended=EXITS, healthy=st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_failure_is_named_or_not_but_never_raised(
    log: str, ended: ExitEvidence | None, healthy: bool
) -> None:
    """One line, bounded evidence, a margin that is the difference."""
    evidence = Evidence(phase="starting", healthy_once=healthy, exit=ended, log=log)
    failure = explain(evidence)
    assert explain(evidence) == failure
    if failure is None:
        return
    assert failure.phase == "starting"
    assert failure.message
    assert all(len(line) <= 600 for line in failure.evidence)
    if failure.needed_gib is not None and failure.available_gib is not None:
        assert failure.margin_gib is not None
        assert abs(failure.margin_gib - (failure.available_gib - failure.needed_gib)) < 1e-3
    assert all(value is not None for value in failure.repair.values())


@given(log=LOGS)
@settings(max_examples=300, deadline=None)
def test_a_log_is_read_or_not_but_never_raised(log: str) -> None:
    """Times are not negative; what is not there is None or absent."""
    assert all(value >= 0 for value in milestones(log).values())
    tokens = kv_cache_tokens(log)
    assert ledger(log).kv_cache_tokens == tokens
    assert tokens is None or tokens >= 0


@given(text=LOGS | st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_metrics_are_read_or_none(text: str) -> None:
    """Every figure is there, whatever the text."""
    assert set(gauges(text)) == set(metric_names().figures)
    assert isinstance(cache_config(text), dict)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip
SECTIONS = st.dictionaries(
    st.sampled_from(["cache_config", "scheduler_config", "model_config", "kv_transfer_config"]),
    JSON
    | st.dictionaries(
        st.sampled_from(["block_size", "cache_dtype", "max_num_seqs", "policy", "kv_connector"]),
        JSON,
        max_size=4,
    ),
    max_size=4,
)


@given(config=SECTIONS, text=LOGS, asked=st.sampled_from([
    {"max_num_seqs": 64}, {"kv_cache_dtype": "fp8"}, {"kv_offload_gib": 8}, {"block_size": "16"},
]))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_a_statement_is_compared_whatever_it_says(
    config: dict[str, object], text: str, asked: dict[str, int | str]
) -> None:
    """What was asked is as asked, a mismatch, or unverified: exactly one of them."""
    capabilities = Capabilities(engine="vllm", release="0.33.0", platform="cuda")
    statement = Statement(config=config, text=text, log=text)
    applied = compare(Configuration.of(asked), capabilities, statement)
    (name,) = asked
    missed = name in {m.parameter for m in applied.mismatches}
    assert missed + (name in applied.unverified) <= 1
    assert (name in applied.settings) != (name in applied.unverified)
