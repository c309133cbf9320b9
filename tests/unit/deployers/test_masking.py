"""What is masked in a server's log."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.deployers.masking import masked, secrets_of, spellings


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
        ("REPO", f"https://ghp_{'q' * 36}@github.com/x", (f"ghp_{'q' * 36}",)),
        ("REPO", "ssh://git@github.com/x", ()),
        ("SSH_PRIVATE_KEY", "abcdefgh", ("abcdefgh",)),
        ("MYSQL_PWD", "abcdefgh", ("abcdefgh",)),
        ("PWD", "/home/somebody", ()),
        ("TOKENIZERS_PARALLELISM", "true or false", ()),
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


def test_a_secret_of_several_lines_is_masked_line_by_line() -> None:
    """A log puts its own words before each of them; short ones stay readable."""
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nshort"
    assert secrets_of({"PRIVATE_KEY": key}) == (
        "-----BEGIN KEY-----", key, "MIIEvQIBADANBgkqhkiG",
    )  # fmt: skip


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=0x17F), min_size=12, max_size=40),
    st.text("abc:@ ", max_size=5),
    st.text("abc:@ ", max_size=5),
)
def test_however_a_secret_is_spelt_it_is_masked(secret: str, before: str, after: str) -> None:
    """In a URL, in JSON, in a Python text, in base64 within whatever else was encoded."""
    whole = (before + secret + after).encode()
    written = (
        secret, quote(secret, safe=""), json.dumps(secret), json.dumps(secret, ensure_ascii=False),
        repr(secret), base64.b64encode(whole).decode(), base64.urlsafe_b64encode(whole).decode(),
    )  # fmt: skip
    for text in written:
        assert "[secret]" in masked(f"said: {text}.", spellings([secret])), text


def test_a_basic_authorization_is_masked() -> None:
    """What a header holds is base64 of user and password (RFC 7617)."""
    header = "Authorization: Basic " + base64.b64encode(b"me:hunter2hunter2").decode()
    found = masked(header, spellings(["hunter2hunter2"]))
    assert found.startswith("Authorization: Basic bWU6[secret]")
