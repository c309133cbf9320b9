"""Which image a name means: the same one from the first start to the last.

A tag moves when somebody pulls. A study that went on with what the tag means by then would compare
trials of two releases under one name, so a container is started of the image's id.
"""

from collections.abc import Mapping
from typing import Any

import docker
import docker.errors

from autotune.errors import ImageMissingError


class Images:
    """Names and the ids that they had when they were first asked for; for one run of a study."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def meant(self, client: docker.DockerClient, options: Mapping[str, Any]) -> dict[str, Any]:
        """A container's options with the image's id in place of its name; blocks.

        Args:
            client: For the engine.
            options: Arguments of `containers.create`.

        Raises:
            ImageMissingError: It is not on this machine, or no longer.
        """
        name = str(options["image"])
        known = self._ids.get(name)
        try:
            found = str(client.images.get(known or name).id)
        except docker.errors.ImageNotFound as error:
            raise _missing(name, known) from error
        return {**options, "image": self._ids.setdefault(name, found)}


def _missing(name: str, known: str | None) -> ImageMissingError:
    if known is None:
        message = f"the image {name!r} is not on this machine"
        return ImageMissingError(message, hint=f"Fetch it: docker pull {name}")
    message = f"the image {name!r}, {known} when this run began, is no longer on this machine"
    hint = "If its name means another image now, give that a study of its own: --name."
    return ImageMissingError(message, hint=hint)
