"""A folder of exported files: what autotune wrote is renewed, what the user changed stays.

Beside the files lies `.autotune.json`: the trial that they were written for, the checksum of each
as it was written, and the values of `.env`. So a later writing knows what is the user's:

| the user | what a new recommendation does |
|---|---|
| changed nothing | the files are renewed |
| set a port, address, folder, token or variable of their own in `.env` | that value is kept |
| changed a setting that was measured, or another file | all of them stay; the new ones go beside |

All files of a folder are of one trial, for they share `.env`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from autotune.report.exports.env import variables
from autotune.report.exports.env_merge import MergedEnv, merged_env
from autotune.report.exports.names import file_name
from autotune.report.exports.service import Service
from autotune.report.exports.write import FORMATS, Export, Format, export
from autotune.store.files import write_atomically

MANIFEST: Final = ".autotune.json"

_PRIVATE: Final = 0o600
_SHARED: Final = 0o644
_EXECUTABLE: Final = 0o755

_RECOMMENDED: Final[tuple[Format, ...]] = ("compose", "env", "command")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a folder was written for.

    Attributes:
        trial: None for a folder of which nothing is known.
        files: Name to the SHA-256 of the file as it was made, before the user's values.
        env: Variables of `.env` with the values of the trial.
        env_written: The SHA-256 of `.env` as it was written, with the user's values.
    """

    trial: int | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    env_written: str = ""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What became of a writing.

    Attributes:
        folder: Where the files went: the one asked for, or the one beside it.
        files: All of them, written now or left as they were.
        notes: What the user has to know: what was kept, and where the new files are.
    """

    folder: Path
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


_ADAPTER: Final = TypeAdapter(Manifest)


def write_recommendation(
    folder: Path,
    service: Service,
    *,
    forms: Sequence[Format] = _RECOMMENDED,
    release: str | None = None,
    force: bool = False,
) -> Written:
    """Write `docker-compose.yml`, `.env`, `serve.sh` and, with an image, `docker-run.sh`.

    Args:
        folder: `studies/NAME/recommended`.
        service: What to run.
        forms: Which formats; files of another trial that lie there are renewed with them.
        release: The engine's release, where it is known.
        force: Replace what the user changed; values of `.env` that were never measured (port,
            token) are kept even then.

    Raises:
        StoreError: If the folder cannot be written.
    """
    made = _made(service, forms, release, _manifest(folder))
    here = _Folder(folder, service, made)
    if force or not here.conflicts:
        notes = here.write(force=force)
        _forget(_beside(folder))
        return Written(folder=folder, files=here.files, notes=notes)
    why = f"{' and '.join(here.conflicts)} in {folder}: changed since autotune wrote it, and left"
    hint = f"`autotune recommend {service.study} --force` replaces it."
    beside = _Folder(_beside(folder), service, made, env=here.env)
    if beside.conflicts:
        note = f"{why}. {beside.path} was changed as well, so nothing is written. {hint}"
        return Written(folder=folder, files=(), notes=(note,))
    notes = beside.write()
    note = f"{why}. Trial {service.trial} is written to {beside.path}. {hint}"
    return Written(folder=beside.path, files=beside.files, notes=(note, *notes))


class _Folder:
    """A folder and the files that are to be written to it.

    Args:
        path: Where.
        service: What is exported.
        made: The files.
        env: `.env` with the user's values out of another folder; None for this one's.
    """

    def __init__(
        self,
        path: Path,
        service: Service,
        made: Sequence[Export],
        *,
        env: MergedEnv | None = None,
    ) -> None:
        self.path, self._service = path, service
        self._manifest = _manifest(path)
        self._made = {one.name: one for one in made}
        self._env_name = file_name(".env", simulated=service.simulated)
        self.env = env or self._merged()

    @property
    def conflicts(self) -> tuple[str, ...]:
        """Files that the user changed and that would be replaced by something new."""
        return tuple(n for n in self._made if self._is_edited(n) and self._is_new(n))

    @property
    def files(self) -> tuple[Path, ...]:
        """Where each file is."""
        return tuple(self.path / name for name in self._made)

    def write(self, *, force: bool = False) -> tuple[str, ...]:
        """Write what is new; tells what was kept of the user's."""
        left = [n for n in self._made if self._is_edited(n) and not force]
        for name in self._made:
            if name not in left and (force or self._is_new(name)):
                self._put(name, self._text(name), self._mode(name))
        known = Manifest(
            trial=self._service.trial,
            files={**self._manifest.files, **{n: _digest(o.text) for n, o in self._made.items()}},
            env={n: value for n, (value, _) in variables(self._service).items()},
            env_written="" if self.env is None else _digest(self.env.text),
        )
        self._put(MANIFEST, _ADAPTER.dump_json(known, indent=1).decode() + "\n", _SHARED)
        notes = [f"{self.path / name}: left as you changed it" for name in left]
        if self.env is not None and self.env.kept:
            kept = ", ".join(self.env.kept)
            notes.append(f"{self.path / self._env_name}: kept your {kept}")
        return tuple(notes)

    def _put(self, name: str, text: str, mode: int) -> None:
        if _read(self.path / name) != text:
            write_atomically(self.path / name, text, mode=mode)

    def _merged(self) -> MergedEnv | None:
        made = self._made.get(self._env_name)
        if made is None:
            return None
        return merged_env(
            made.text,
            current=_read(self.path / self._env_name),
            before=self._manifest.env,
            service=self._service,
        )

    def _text(self, name: str) -> str:
        if name == self._env_name and self.env is not None:
            return self.env.text
        return self._made[name].text

    def _is_edited(self, name: str) -> bool:
        """Whether the user changed what must be changed with all the rest or not at all."""
        current = _read(self.path / name)
        if current is None or current == self._text(name):
            return False
        if name == self._env_name:
            return self.env is not None and bool(self.env.edited)
        return _digest(current) != self._manifest.files.get(name)

    def _is_new(self, name: str) -> bool:
        """Whether there is something to write that was not written before."""
        is_there = (self.path / name).exists()
        return not is_there or _digest(self._made[name].text) != self._manifest.files.get(name)

    def _mode(self, name: str) -> int:
        """Rights of a file: those of a `.env` that is there, for it may hold a token."""
        if self._made[name].executable:
            return _EXECUTABLE
        if name != self._env_name or self.env is None:
            return _SHARED
        try:
            return (self.path / name).stat().st_mode & 0o777
        except OSError:
            return _PRIVATE if self.env.kept else _SHARED


def _made(
    service: Service, forms: Sequence[Format], release: str | None, manifest: Manifest
) -> tuple[Export, ...]:
    """The files of some formats, and those of another trial that lie beside them."""
    found = [one for form in forms for one in export(service, form, release=release)]
    if manifest.trial not in {None, service.trial}:
        found += [
            one
            for form in FORMATS
            if form not in forms
            for one in export(service, form, release=release)
            if one.name in manifest.files
        ]
    return tuple(found)


def latest(folder: Path) -> Path:
    """Where the last recommendation lies: the folder, or the one beside the user's changes."""
    return _beside(folder) if (_beside(folder) / MANIFEST).is_file() else folder


def written_trial(folder: Path) -> int | None:
    """The trial that the last recommendation was written for; None where there is none."""
    return _manifest(latest(folder)).trial


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.new")


def _forget(folder: Path) -> None:
    """Remove a folder of files that nobody changed and that are no longer what is new."""
    known = _manifest(folder)
    if known.trial is None:
        return
    for name, digest in known.files.items():
        if _digest(_read(folder / name) or "") in {digest, known.env_written}:
            (folder / name).unlink()
    if {path.name for path in folder.iterdir()} == {MANIFEST}:
        (folder / MANIFEST).unlink()
        folder.rmdir()


def _manifest(folder: Path) -> Manifest:
    try:
        return _ADAPTER.validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return Manifest()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
