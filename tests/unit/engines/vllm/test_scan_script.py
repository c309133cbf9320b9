"""The scan, on a small package written the ways vLLM's releases are written."""

import ast
from pathlib import Path
from textwrap import dedent

import pytest

from autotune.engines.vllm import scan_script
from autotune.engines.vllm.scan_script import Sources, scan

FILES = {
    "engine/arg_utils.py": """
        class EngineArgs:
            @staticmethod
            def add_cli_args(parser):
                cache_kwargs = get_kwargs(CacheConfig)
                group = parser.add_argument_group(title="CacheConfig")
                group.add_argument("--kv-cache-dtype", **cache_kwargs["cache_dtype"])
                group.add_argument("--block-size", "-b", **cache_kwargs["block_size"])
                group.add_argument("--enable-prefix-caching",
                                   **{**cache_kwargs["prefix"], "default": None})
                group.add_argument("--gpu_share", **cache_kwargs["share"])
                group.add_argument("--kv-plugin", **cache_kwargs["plugin"])
                group.add_argument("--token", **cache_kwargs["token"])
                group.add_argument("--enforce-eager", action="store_true")
                group.add_argument("--spec", action=argparse.BooleanOptionalAction)
                group.add_argument("--device", type=str, choices=["auto", "cuda"])
                group.add_argument("--steps", type=int, default=1)
                group.add_argument("positional")
        """,
    "config/cache.py": """
        CacheDType = Literal["auto", "fp8"]
        BlockSize = Literal[1, 16]
        class Base:
            share: "float" = 0.9
        class CacheConfig(Base):
            cache_dtype: CacheDType = "auto"
            block_size: SkipValidation[BlockSize] = None
            prefix: Optional[bool] = None
            plugin: Annotated[Literal["a", "b"] | str, Field()] = "a"
            token: Optional[Union[bool, str]] = None
        """,
    "entrypoints/openai/cli_args.py": """
        class BaseFrontendArgs:
            response_role: str = "assistant"
        class FrontendArgs(BaseFrontendArgs):
            port: int = 8000
            disable_log: bool = False
        def make_arg_parser(parser):
            parser.add_argument("--headless", action="store_true")
        """,
    "attention/backends/registry.py": """
        class AttentionBackendEnum(Enum):
            FLASH_ATTN = "a"
            TRITON_ATTN = "b"
        class _Backend(metaclass=Old):
            pass
        """,
    "envs.py": """
        environment_variables = {
            "VLLM_USE_V1": lambda: bool(int(os.getenv("VLLM_USE_V1", "1"))),
            **more,
        }
        """,
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder like site-packages/vllm."""
    for name, text in FILES.items():
        path = tmp_path / "vllm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    return tmp_path / "vllm"


@pytest.mark.parametrize(
    ("flag", "option"),
    [
        ("kv-cache-dtype", {"kind": "choice", "choices": ["auto", "fp8"]}),
        ("block-size", {"kind": "choice", "choices": [1, 16]}),
        ("enable-prefix-caching", {"kind": "pair"}),
        ("gpu-share", {"kind": "float"}),
        ("kv-plugin", {"kind": "value", "known": ["a", "b"]}),
        ("token", {"kind": "optional"}),
        ("enforce-eager", {"kind": "switch"}),
        ("spec", {"kind": "pair"}),
        ("device", {"kind": "choice", "choices": ["auto", "cuda"]}),
        ("steps", {"kind": "int"}),
        ("port", {"kind": "int"}),
        ("response-role", {"kind": "value"}),
        ("disable-log", {"kind": "pair"}),
        ("headless", {"kind": "switch"}),
    ],
)
def test_an_option_is_read_as_argparse_would_see_it(
    package: Path, flag: str, option: dict[str, object]
) -> None:
    """Aliases, wrappers, inheritance, overrides and literal calls."""
    assert scan(package)["flags"][flag] == option


def test_nothing_else_is_taken_for_an_option(package: Path) -> None:
    """Positional arguments and short options are none."""
    assert len(scan(package)["flags"]) == 14


def test_backends_and_variables_are_read(package: Path) -> None:
    """The enum with members counts, not its empty predecessor; keys of the table count."""
    found = scan(package)
    assert found["backends"] == ["FLASH_ATTN", "TRITON_ATTN"]
    assert found["environment"] == ["VLLM_USE_V1"]
    assert found["inverse_pairs"] is False


def test_a_single_config_file_is_read_too(package: Path) -> None:
    """To 0.10.1 there is one config.py."""
    (package / "config" / "cache.py").rename(package / "config.py")
    assert scan(package)["flags"]["kv-cache-dtype"]["choices"] == ["auto", "fp8"]


def test_a_class_that_is_missing_costs_only_its_types(package: Path) -> None:
    """An option keeps its name when its type cannot be found."""
    (package / "config" / "cache.py").unlink()
    assert scan(package)["flags"]["kv-cache-dtype"] == {"kind": "value"}


def test_types_that_refer_to_themselves_end(package: Path) -> None:
    """A damaged alias must not hang the scan."""
    (package / "config" / "loop.py").write_text("A = B\nB = A\n", encoding="utf-8")
    assert Sources(package).hints(ast.parse("A", mode="eval").body) == (set(), [])


def test_the_script_needs_nothing_but_the_standard_library() -> None:
    """It is sent as text to interpreters that have no autotune."""
    text = Path(scan_script.__file__).read_text(encoding="utf-8")
    imported = {
        (node.module or "").partition(".")[0] if isinstance(node, ast.ImportFrom)
        else node.names[0].name.partition(".")[0]
        for node in ast.walk(ast.parse(text, feature_version=(3, 9)))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }  # fmt: skip
    assert imported == {"__future__", "ast", "collections", "importlib", "json", "pathlib", "sys",
                        "typing"}  # fmt: skip
