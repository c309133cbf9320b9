"""A recommended trial as files that can be started as they are.

`service.py` turns a trial's record and launch plan into a `Service`, free of what only the
measuring needed; the other modules write it down in one format each; `write.py` writes the
folder `recommended/`.
"""
