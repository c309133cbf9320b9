"""`preference`: which end of the front the user chose after the study, beside `study.yaml`.

It is no part of the study: what was declared stays as it was declared, and a study that goes on
keeps the user's choice until another is made.
"""

from typing import get_args

from autotune.errors import StoreError
from autotune.paths import StudyPaths
from autotune.spec.study import Preference
from autotune.store.files import read_regular, write_atomically


def read_preference(paths: StudyPaths) -> Preference | None:
    """What was chosen; None for the study's own.

    Raises:
        StoreError: If the file cannot be read or holds something else.
    """
    try:
        text = read_regular(paths.preference).decode().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        message = f"{paths.preference} cannot be read: {error}"
        raise StoreError(message, hint="Check its rights, or remove it.") from error
    known: tuple[Preference, ...] = get_args(Preference)
    for preference in known:
        if text == preference:
            return preference
    message = f"{paths.preference} holds {text!r}, which is none of {', '.join(known)}"
    raise StoreError(message, hint=f"`autotune recommend {paths.name} --prefer ...` writes it.")


def write_preference(paths: StudyPaths, preference: Preference) -> None:
    """Remember a choice.

    Raises:
        StoreError: If the disk refuses.
    """
    write_atomically(paths.preference, f"{preference}\n")


def forget_preference(paths: StudyPaths) -> None:
    """Go back to the study's own preference.

    Raises:
        StoreError: If the file cannot be removed.
    """
    try:
        paths.preference.unlink(missing_ok=True)
    except OSError as error:
        message = f"{paths.preference} cannot be removed: {error.strerror}"
        raise StoreError(message, hint="Check the rights of its folder.") from error
