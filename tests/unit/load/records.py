"""Request records with round times, made by hand."""

from autotune.seams.requests import RequestError, RequestErrorKind, RequestRecord

MS = 1_000_000


def record(
    sent_ms: float = 0,
    first_ms: float = 10,
    *,
    chunks: int = 5,
    gap_ms: float = 10,
    tokens: int | None = None,
    prompt: int = 100,
    error: RequestErrorKind | None = None,
    late_ms: float = 0,
) -> RequestRecord:
    """A request sent at `sent_ms` whose chunks begin at `first_ms`; tokens default to chunks."""
    stamps = tuple(round((first_ms + gap_ms * i) * MS) for i in range(chunks))
    return RequestRecord(
        request_id="r",
        scheduled_ns=round((sent_ms - late_ms) * MS),
        sent_ns=round(sent_ms * MS),
        first_token_ns=stamps[0] if stamps else None,
        chunk_ns=stamps,
        end_ns=stamps[-1] if stamps else round(sent_ms * MS),
        prompt_tokens=prompt,
        output_tokens=chunks if tokens is None else tokens,
        error=None if error is None else RequestError(kind=error, message="as made"),
    )
