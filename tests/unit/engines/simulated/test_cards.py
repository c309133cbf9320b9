"""Cards as data: the vendors' figures, and files that say whether they are guesses."""

from pathlib import Path

import pytest

from autotune.engines.simulated.calibrate import write_card
from autotune.engines.simulated.card import card_named, card_names, read_card
from autotune.errors import SpecError

# Memory bandwidth in GB/s and dense bf16 TFLOP/s, from the vendor's data sheets.
_SHEETS = {
    "rtx-3060": (360, 25.6, (8, 6)),
    "rtx-3090": (936, 71, (8, 6)),
    "rtx-4090": (1008, 165.2, (8, 9)),
    "rtx-5070": (672, 61.7, (12, 0)),
    "rtx-5090": (1792, 209.5, (12, 0)),
    "l4": (300, 121, (8, 9)),
    "a10": (600, 125, (8, 6)),
    "a100-40": (1555, 312, (8, 0)),
    "a100-80": (2039, 312, (8, 0)),
    "h100": (3350, 989, (9, 0)),
    "h200": (4800, 989, (9, 0)),
}


def test_every_card_that_is_promised_is_there() -> None:
    """The list above, no more and no less."""
    assert set(card_names()) == set(_SHEETS)


@pytest.mark.parametrize("name", sorted(_SHEETS))
def test_a_card_has_its_vendors_figures(name: str) -> None:
    """Peaks as published; CUDA sees a little less memory than NVML."""
    card, (bandwidth, flops, capability) = card_named(name), _SHEETS[name]
    assert (card.bandwidth_gb_per_s, card.tflops.bf16) == (bandwidth, flops)
    assert card.compute_capability == capability
    assert 0.95 < card.cuda_memory_mib / card.nvml_memory_mib < 1
    assert (card.tflops.fp8 is not None) == (capability >= (8, 9))
    assert {"FLASH_ATTN", "FLASHINFER", "TRITON_ATTN", "FLEX_ATTENTION"} <= set(card.attention)


@pytest.mark.parametrize("name", sorted(_SHEETS))
def test_a_calibrated_card_says_how_well(name: str) -> None:
    """`calibrated` is null, or has a date, a release and errors on records left out."""
    calibrated = card_named(name).calibrated
    if calibrated is not None:
        assert calibrated.held_out_records > 0
        assert calibrated.median_error


def test_a_card_that_does_not_exist_names_those_that_do() -> None:
    """The message names the field of the study, the hint lists the cards."""
    with pytest.raises(SpecError, match=r"engine\.hardware") as caught:
        card_named("rtx-9999")
    assert "rtx-5070" in caught.value.hint


def test_a_card_may_come_from_a_file(tmp_path: Path) -> None:
    """What `write_card` writes is read back the same."""
    path = tmp_path / "mine.yaml"
    card = card_named("h100")
    write_card(card, path)
    assert card_named(str(path)) == card


def test_a_wrong_card_file_names_its_field(tmp_path: Path) -> None:
    """An unknown key is an error."""
    path = tmp_path / "mine.yaml"
    write_card(card_named("l4"), path)
    path.write_text(path.read_text() + "\nbandwith: 3\n")
    with pytest.raises(SpecError, match="bandwith"):
        read_card(path)
