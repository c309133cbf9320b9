"""A study that is refused before its first trial leaves nothing behind."""

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from autotune.errors import AutotuneError
from autotune.paths import StudyPaths


def no_trace_of_a_refusal(paths: StudyPaths) -> AbstractContextManager[None]:
    """Remove a study's folder again if an error ends what is inside before there is a trial.

    Only a folder that was not there when this was called; so call it before the study's lock is
    taken, and enter it under the lock, for what another run has made is not ours to remove.
    """
    is_new = not paths.root.exists()
    is_first = not paths.root.parent.exists()

    @contextmanager
    def watched() -> Iterator[None]:
        try:
            yield
        except AutotuneError:
            if is_new and not any(paths.trials.glob("*")):
                shutil.rmtree(paths.root, ignore_errors=True)
                with suppress(OSError):  # it holds something else by now
                    if is_first:
                        paths.root.parent.rmdir()
            raise

    return watched()
