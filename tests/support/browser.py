"""A real headless browser that looks at a page; none is downloaded."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, sync_playwright

ARGUMENTS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
WIDTHS: Final = ((1280, "light"), (390, "dark"))
"""Pixels and colours of a desk and of a phone."""


def chromium() -> str | None:
    """A Chromium of this machine."""
    return next((p for n in ("chromium", "chromium-browser", "google-chrome")
                 if (p := shutil.which(n)) is not None), None)  # fmt: skip


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser that ends with the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page whose complaints and requests are kept."""

    def __init__(self, browser: Browser, path: Path, *, width: int, scheme: str) -> None:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    @property
    def overflow(self) -> int:
        """Pixels that stick out sideways."""
        text = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(text))

    @property
    def plots(self) -> str:
        """Class of the plots that this width shows."""
        size = self.page.viewport_size
        return "wide" if size is not None and size["width"] > 640 else "narrow"

    def close(self) -> None:
        """Give the context back."""
        self.page.context.close()
