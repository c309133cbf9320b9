"""Data sets and traces: what is read from files, and what is refused with the line's number."""

import json
from pathlib import Path

import pytest

from autotune.errors import SpecError
from autotune.load.datasets import DatasetEntry, read_dataset
from autotune.load.trace import is_trace, read_trace


def written(folder: Path, name: str, content: object) -> Path:
    """A file with this content, as JSON unless it is text already."""
    path = folder / name
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def test_share_gpt_gives_the_first_question_of_each_conversation(tmp_path: Path) -> None:
    """Conversations without an answer, or that the machine begins, are left out."""
    turn = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]
    path = written(
        tmp_path,
        "sharegpt.json",
        [
            {"id": "1", "conversations": turn},
            {"id": "2", "conversations": turn[:1]},
            {"id": "3", "conversations": list(reversed(turn))},
            {"id": "4"},
        ],
    )

    assert (DatasetEntry(prompt="Why?"),) == read_dataset(path)


def test_own_lines_may_say_how_long_the_answer_is(tmp_path: Path) -> None:
    """One JSON object per line; blank lines are skipped."""
    path = written(
        tmp_path,
        "own.jsonl",
        '{"prompt": "a", "output_tokens": 7}\n\n{"prompt": "b", "chat": false}\n',
    )

    assert read_dataset(path) == (
        DatasetEntry(prompt="a", output_tokens=7),
        DatasetEntry(prompt="b", chat=False),
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("own.jsonl", '{"prompt": "a"}\n{"prompt": 3}', "line 2: no prompt"),
        ("own.jsonl", '{"prompt": "a", "output_tokens": 0}', "line 1: output_tokens"),
        ("own.jsonl", '{"prompt": "a", "output_tokens": true}', "line 1: output_tokens"),
        ("own.jsonl", "{", "line 1: no JSON"),
        ("own.jsonl", "", "no prompt"),
        ("chat.json", "{}", "no list"),
        ("chat.json", "[]", "no prompt"),
        ("chat.json", "[", "no JSON"),
    ],
)
def test_a_bad_data_set_is_named_with_its_place(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    """The error says which line or entry is wrong."""
    with pytest.raises(SpecError, match=message):
        read_dataset(written(tmp_path, name, content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The field to mend is in the hint."""
    with pytest.raises(SpecError, match="cannot be read") as caught:
        read_dataset(tmp_path / "nowhere.json")
    assert "workload.dataset" in caught.value.hint
    with pytest.raises(SpecError, match="cannot be read"):
        read_trace(tmp_path / "nowhere.jsonl", seed=0)


TRACE = """
{"timestamp": 500, "input_length": 1100, "output_length": 3, "hash_ids": [7, 8, 9]}
{"timestamp": 100, "input_length": 1024, "output_length": 5, "hash_ids": [7, 8]}
{"timestamp": 700, "input_length": 40, "output_length": 2}
""".strip()


def test_a_trace_keeps_times_lengths_and_shared_prefixes(tmp_path: Path) -> None:
    """Blocks with equal hashes are equal segments; offsets count from the earliest request."""
    entries = read_trace(written(tmp_path, "trace.jsonl", TRACE), seed=5)

    assert [e.offset_ns for e in entries] == [0, 400_000_000, 600_000_000]
    assert [sum(s.tokens for s in e.segments) for e in entries] == [1024, 1100, 40]
    assert [e.output_tokens for e in entries] == [5, 3, 2]
    assert entries[0].segments == entries[1].segments[:2]
    assert entries[1].segments[2].tokens == 1100 - 1024
    assert len({s.seed for e in entries for s in e.segments}) == 4


def test_a_trace_under_another_seed_has_other_prompts(tmp_path: Path) -> None:
    """A repeated study does not find the last one's prefixes in a cache."""
    path = written(tmp_path, "trace.jsonl", TRACE)
    seeds = [{s for e in read_trace(path, seed=seed) for s in e.segments} for seed in (1, 2)]

    assert not seeds[0] & seeds[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"input_length": 3, "output_length": 3}', "line 1: timestamp"),
        ('{"timestamp": 1, "input_length": 0, "output_length": 3}', "line 1: input_length"),
        ('{"timestamp": 1, "input_length": 3}', "line 1: output_length"),
        ("[]", "line 1: no object"),
        ("", "no request"),
        ("{", "no JSON"),
    ],
)
def test_a_bad_trace_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    """The error says which line is wrong."""
    with pytest.raises(SpecError, match=message):
        read_trace(written(tmp_path, "trace.jsonl", content), seed=0)


def test_traces_are_told_from_data_sets_by_their_first_line(tmp_path: Path) -> None:
    """Only a trace has input lengths."""
    assert is_trace(written(tmp_path, "a.jsonl", TRACE))
    assert not is_trace(written(tmp_path, "b.jsonl", '{"prompt": "a"}'))
    assert not is_trace(written(tmp_path, "c.json", "[1,\n2]"))
    assert not is_trace(tmp_path / "nowhere")
