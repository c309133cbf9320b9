"""Exit codes and last words of the program."""

import pytest
import typer

from autotune.cli import main
from autotune.errors import EXIT_INTERRUPTED


@pytest.mark.parametrize("end", [KeyboardInterrupt, typer.Abort])
def test_ctrl_c_says_that_the_same_command_goes_on(
    end: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether typer lets it through or makes an exit code of it."""
    app = typer.Typer()

    @app.command()
    def command() -> None:
        raise end

    monkeypatch.setattr(main, "app", app)
    assert main.run([]) == EXIT_INTERRUPTED
    assert "the same command goes on" in capsys.readouterr().err
