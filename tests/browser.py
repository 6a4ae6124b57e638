"""A headless Chromium without a network, for tests of the pages that people open."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

NAMES = ("chromium", "chromium-browser", "google-chrome")
PHONE, LAPTOP = (390, 844), (1280, 800)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


def find_browser() -> tuple[str, str]:
    """Chromium and its driver; the test is skipped where there is none."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    driver = shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    return browser, driver


@contextmanager
def opened(path: Path, size: tuple[int, int] = LAPTOP, dark: bool = False) -> Iterator[Any]:
    """A page opened offline; at the end its console must hold no error."""
    browser, driver = find_browser()
    options = Options()
    options.binary_location = browser
    for flag in (*FLAGS, "--host-resolver-rules=MAP * ~NOTFOUND"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    page = webdriver.Chrome(options=options, service=Service(driver))
    try:
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        page.get(path.resolve().as_uri())
        yield page
        errors = [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
        assert not errors, errors
    finally:
        page.quit()
