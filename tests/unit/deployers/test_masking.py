"""What is masked in a server's log."""

import pytest

from autotune.deployers.masking import secrets_of


@pytest.mark.parametrize(
    ("name", "value", "masked"),
    [
        ("OPENAI_API_KEY", "sk-0123456789", ("sk-0123456789",)),
        ("aws_secret_access_key", "abcdefgh", ("abcdefgh",)),
        ("MY_PASSWORD", "short", ()),
        ("HOME", "/home/somebody", ()),
        ("HTTPS_PROXY", "http://me:hunter2hunter2@proxy:3128", ("hunter2hunter2",)),
        ("HTTPS_PROXY", "http://me:pw@proxy:3128", (":pw@",)),
        ("INDEX", "https://:p%40ssword1@host/x", ("p%40ssword1", "p@ssword1")),
        ("TWO", "a://b:password1@c d://e:password2@f", ("password1", "password2")),
        ("PLAIN", "http://proxy:3128/a@b", ()),
    ],
)
def test_secrets_are_known_by_name_and_by_shape(
    name: str, value: str, masked: tuple[str, ...]
) -> None:
    """A variable's name says it, or a URL has a password in it; short words stay readable."""
    assert secrets_of({name: value}) == masked


def test_what_is_passed_on_is_a_secret_whatever_its_name() -> None:
    """A plan passes on by name what it may not hold itself."""
    assert secrets_of({"LICENCE": "0123-4567", "LANG": "C.UTF-8-long"}, ["LICENCE"]) == (
        "0123-4567",
    )
