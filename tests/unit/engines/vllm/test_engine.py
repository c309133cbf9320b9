"""The engine as studies see it: each question reaches the module that answers it."""

from autotune.engines.vllm import logs, server_metrics
from autotune.engines.vllm.capabilities import declared
from autotune.engines.vllm.engine import VllmEngine
from autotune.records import Configuration, FailureKind, Scalar
from autotune.seams.engine import Engine, EngineTarget, Evidence, LaunchContext, ModelFacts
from autotune.seams.telemetry import Gpu, Hardware
from autotune.spec.space import Choice, SearchSpace
from autotune.units import BYTES_PER_GIB

GPU = Gpu(index=0, name="gpu", memory_bytes=12 * BYTES_PER_GIB, compute_capability=(12, 0))
QWEN_7B = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 3584,
    "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
    "intermediate_size": 18944, "vocab_size": 152064, "torch_dtype": "bfloat16",
    "max_position_embeddings": 32768, "tie_word_embeddings": False,
}  # fmt: skip
CONTEXT = LaunchContext(
    target=EngineTarget(deployer="process", command=("vllm", "serve")),
    capabilities=declared("0.33.0"),
    hardware=Hardware(gpus=(GPU,), host_memory_bytes=94 * BYTES_PER_GIB),
    model=ModelFacts(name="m", config=QWEN_7B, weights_bytes=15_231_233_024),
    port=8000,
)


def screened(values: dict[str, Scalar]) -> FailureKind | None:
    """What screening says of a configuration."""
    failure = VllmEngine().screen(Configuration.of(values), CONTEXT).failure
    return None if failure is None else failure.kind


def test_it_is_an_engine() -> None:
    """The type checker holds it against the protocol; its name is the study file's."""
    engine: Engine = VllmEngine()
    assert engine.name == "vllm"


def test_screening_asks_for_legality_before_memory() -> None:
    """15 GB of weights do not fit 12 GiB; what is illegal as well is called illegal."""
    assert screened({"scheduler_steps": 10}) is FailureKind.ILLEGAL
    combination: dict[str, Scalar] = {"attention_backend": "FLASH_ATTN", "kv_cache_dtype": "fp8"}
    assert screened(combination) is FailureKind.UNSUPPORTED_COMBINATION
    assert screened({}) is FailureKind.WOULD_NOT_FIT


def test_space_settling_and_start_are_the_release_s() -> None:
    """One release, three views of it."""
    engine = VllmEngine()
    space = SearchSpace(name="s", parameters=(Choice(name="scheduler_steps", choices=(1, 8)),))
    known = (CONTEXT.capabilities, CONTEXT.hardware)
    assert engine.resolve_space(space, *known, CONTEXT.model).space.parameters == ()
    asked = Configuration.of({"scheduler_steps": 8, "max_num_seqs": 64})
    settled = engine.settle(asked, *known)
    assert settled.configuration == Configuration.of({"max_num_seqs": 64})
    plan = engine.launch_plan(settled.configuration, CONTEXT)
    assert plan.argv[-2:] == ("--max-num-seqs", "64")


LOG = (
    "INFO 01-01 00:00:00 [gpu_worker.py:1] Available KV cache memory: 2.50 GiB\n"
    "INFO 01-01 00:00:01 [core.py:1] GPU KV cache size: 46,784 tokens\n"
    "vllm: error: unrecognized arguments: --num-scheduler-steps 10\n"
)


def test_what_the_engine_says_of_itself_is_read_by_its_modules() -> None:
    """Log, metrics and failures."""
    engine = VllmEngine()
    assert engine.ledger(LOG) == logs.ledger(LOG)
    assert engine.ledger(LOG).kv_cache_tokens == 46_784
    assert engine.milestones(LOG) == logs.milestones(LOG)
    text = "vllm:num_requests_running 3.0\n"
    assert engine.gauges(text) == server_metrics.gauges(text)
    failure = engine.explain(Evidence(phase="starting", log=LOG))
    assert failure is not None
    assert failure.kind is FailureKind.UNKNOWN_ARGUMENT
