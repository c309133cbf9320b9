"""Scalars with a tag at which PyYAML stumbles are told as any other broken line."""

from pathlib import Path

import pytest

from autotune.errors import SpecError
from autotune.spec.files import read_yaml


@pytest.mark.parametrize(
    "text", ["a: !!int ''", "a: !!float ''", "a: !!int '-'", "a: !!timestamp x", "!!set [1]"]
)
def test_a_tag_that_does_not_fit_is_no_traceback(tmp_path: Path, text: str) -> None:
    """Whatever PyYAML raises, the file is named."""
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match=r"space\.yaml.* is not YAML"):
        read_yaml(file)
