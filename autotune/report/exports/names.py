"""Names of exported files; those of a simulated study say so, also where one file names another."""


def file_name(name: str, *, simulated: bool) -> str:
    """A file's name; that of a simulated study says so: `serve.SIMULATED.sh`."""
    if not simulated:
        return name
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.SIMULATED{dot}{suffix}" if stem else f"{name}.SIMULATED"
