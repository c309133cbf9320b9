"""What docs/rtx5070.md says of length, offload and utilization, computed anew."""

import re
from pathlib import Path
from typing import Final

import pytest

from autotune.cli.wiring import read_model_facts, read_space
from autotune.engines.model_shape import shape_of
from autotune.engines.vllm.kv_blocks import kv_layout
from autotune.paths import declared_file
from autotune.spec.files import read_yaml
from autotune.spec.study import StudySpec, study_from
from autotune.units import BYTES_PER_GIB

ROOT: Final = Path(__file__).resolve().parents[2]
CARD_BYTES: Final = 12_820_938_752
"""An RTX 5070's memory as NVML counts it."""
RAM_GIB: Final = 94
ENGINE_GIB: Final = 5
REST_GIB: Final = 4
LENGTH: Final = 32_768


@pytest.fixture(scope="module")
def page() -> str:
    """The page in one line."""
    return " ".join((ROOT / "docs" / "rtx5070.md").read_text().split())


@pytest.fixture(scope="module")
def spec() -> StudySpec:
    """The study that the page is about."""
    return study_from(read_yaml(declared_file("studies", "rtx5070")), where="rtx5070.yaml")


def token_bytes(spec: StudySpec, kv_cache_dtype: str) -> float:
    """KV memory of one token by the model's own config."""
    layout = kv_layout(
        shape_of(read_model_facts(spec)), kv_cache_dtype=kv_cache_dtype, block_tokens=16, gpus=1
    )
    return layout.block_bytes / 16


def test_sizes_are_those_of_the_model(page: str, spec: StudySpec) -> None:
    """A token, the longest request, a step of the share, a GiB of offload; in 16 and in 8 bits."""
    wide, narrow = token_bytes(spec, "auto"), token_bytes(spec, "fp8")
    assert f"{wide:,.0f} bytes" in page
    assert narrow == wide / 2
    longest = [LENGTH * size / BYTES_PER_GIB for size in (wide, narrow)]
    assert f"{longest[0]:.2f} GiB, with fp8 {longest[1]:.2f} GiB" in page
    step = 0.02 * CARD_BYTES
    found = re.search(r"([\d.]+) GiB, some ([\d,]+) tokens, with fp8 ([\d,]+)", page)
    assert found is not None
    gib, some, with_fp8 = (float(text.replace(",", "")) for text in found.groups())
    assert gib == pytest.approx(step / BYTES_PER_GIB, abs=0.005)
    assert (some, with_fp8) == pytest.approx((step / wide, step / narrow), rel=0.02)
    assert f"{BYTES_PER_GIB // wide:,.0f} tokens, with fp8 {BYTES_PER_GIB // narrow:,.0f}" in page
    millions = [64 * BYTES_PER_GIB / size / 1e6 for size in (wide, narrow)]
    assert f"{millions[0]:.1f} million tokens, with fp8 {millions[1]:.1f} million" in page


def test_the_largest_offload_that_fits_is_of_the_space(page: str, spec: StudySpec) -> None:
    """RAM less the reserve, the engine's own and the rest of the machine."""
    parameters = {p.name: p for p in read_space(spec).parameters}
    sizes = [v for v in parameters["kv_offload_gib"].choices or () if isinstance(v, int)]
    room = RAM_GIB - spec.headroom.host_gib - ENGINE_GIB - REST_GIB
    assert f"{max(s for s in sizes if s <= room)} is the largest of the space that fits" in page
    assert tuple(parameters["max_model_len"].choices or ()) == (LENGTH,)
