"""JupyterLab on loopback and Debian's Chromium: what the browser tests share.

Every page of a test records what it asks of other hosts (refused), its errors, and whether text of the documents ran as
code. After each test all three must be empty, so each test is also a test of these.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import corpus
import pytest

from ragtune_lib.store import ROOT

SCREENSHOTS = Path(__file__).parent / "screenshots"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("RAGTUNE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
INSIDE = ("http://127.0.0.1:", "file:", "data:", "blob:", "about:")
START_S = 300  # a busy machine needs long


def pytest_terminal_summary(terminalreporter):
    """Say where the pictures are, also of tests that passed."""
    pictures = list(SCREENSHOTS.glob("*.png"))
    if pictures and CHROMIUM:
        terminalreporter.write_line(f"screenshots of the browser tests: {SCREENSHOTS} ({len(pictures)} pictures)")


@pytest.fixture(scope="session")
def chromium():
    """Path of the browser; tests that need it are left out where there is none."""
    if not CHROMIUM:
        pytest.skip("no Chromium: install Debian's packages chromium and fonts-dejavu-core, or set RAGTUNE_CHROMIUM")
    pytest.importorskip("playwright", reason="no playwright: install the test requirements")
    shutil.rmtree(SCREENSHOTS, ignore_errors=True)
    SCREENSHOTS.mkdir()
    return CHROMIUM


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab."""

    base: str  # its address
    token: str
    root: Path  # the folder that it shows
    outputs: Path  # where its kernels look for runs
    environment: dict[str, str]  # of the server and its kernels; signatures are kept below JUPYTER_DATA_DIR

    def request(self, path, method="GET"):
        """What the server answers, as bytes."""
        request = urllib.request.Request(f"{self.base}{path}", method=method)
        request.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.read()


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def environment(home):
    """Of every server and kernel: nothing of the user's own Jupyter, and this checkout of the project."""
    places = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    outputs = home / "outputs"
    outputs.mkdir()
    fixed = {"PYTHONPATH": path, "IPYTHONDIR": str(home / "ipython"), "RAGTUNE_OUTPUTS": str(outputs)}
    return {**os.environ, **places, **fixed, "HOME": str(home), "PLOTLY_RENDERER": "plotly_mimetype"}


@pytest.fixture(scope="session")
def finished(chromium, home, environment):
    """Folder with the finished runs `plain` and `hostile`; tests that write work on copies (`copy_of`)."""
    corpus.finished_runs(home, environment)
    return Path(environment["RAGTUNE_OUTPUTS"])


@pytest.fixture
def copy_of(finished, request):
    """Copies a finished run for this test alone; gives its folder, whose name is the run's."""

    def copy(run):
        name = re.sub(r"\W+", "-", request.node.name)[-60:].strip("-")
        return Path(shutil.copytree(finished / run, finished / f"{run}-{name}"))

    return copy


@pytest.fixture(scope="session")
def lab(chromium, home, environment):
    """JupyterLab with folders and a token of its own, on a port of its own, until the tests end."""
    root, settings = home / "notebooks", home / "lab" / "settings"
    root.mkdir()
    settings.mkdir(parents=True)
    port, token = free_port(), secrets.token_hex(16)
    options = {
        "ServerApp": {
            "ip": "127.0.0.1",
            "port": port,
            "port_retries": 0,
            "open_browser": False,
            "allow_root": True,
            "root_dir": str(root),
        },
        "IdentityProvider": {"token": token},
        "KernelManager": {"shutdown_wait_time": 0.3},  # seconds; a kernel with torch takes four to end by itself
        "LabApp": {
            "expose_app_in_browser": True,  # window.jupyterapp: clicks on menus raced and ran nothing
            "extension_manager": "readonly",
            "app_settings_dir": str(settings),
            "user_settings_dir": str(home / "lab" / "user"),
            "workspaces_dir": str(home / "lab" / "workspaces"),
        },
    }
    overrides = {
        "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
        "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # cells out of sight are drawn too
    }
    config = home / "jupyter_server_config.json"
    config.write_text(json.dumps(options))
    (settings / "overrides.json").write_text(json.dumps(overrides))
    with (home / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", f"--config={config}"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    lab = Lab(f"http://127.0.0.1:{port}", token, root, Path(environment["RAGTUNE_OUTPUTS"]), environment)
    try:
        wait_for(lambda: lab.request("/api/status"), server, home / "lab.log")
        yield lab
    finally:
        server.terminate()  # the server then ends its kernels
        server.wait(60)


def wait_for(question, server, log):
    """Ask until there is an answer; an ended server is an error with its log."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended: {log.read_text()[-4000:]}")
        try:
            return question()
        except OSError:
            time.sleep(0.3)
    raise TimeoutError(f"no answer in {START_S} s: {log.read_text()[-4000:]}")


TALL = """() => {
  const notebook = document.querySelector('.jp-WindowedPanel-outer');
  if (!notebook) return document.documentElement.scrollHeight;
  notebook.scrollTop = 0;
  return [...notebook.querySelectorAll('.jp-Cell')].at(-1).getBoundingClientRect().bottom + 60;
}"""


def picture(page, name):
    """Keep a picture of the whole page; a notebook scrolls inside, so the window is made as tall as it is."""
    page.set_viewport_size({"width": 1280, "height": min(int(page.evaluate(TALL)), 9000)})
    page.wait_for_timeout(700)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


@dataclass(frozen=True)
class Recorded:
    """What a page did that none may do."""

    outside: list[str]  # requests to other hosts
    errors: list[str]
    ran: list[str]  # what only text of documents writes to the console


@pytest.fixture
def page(chromium, request):
    """An empty page; what it may not do is checked when the test is over."""
    from playwright.sync_api import sync_playwright

    outside, errors, ran = [], [], []

    def answer(route):
        if route.request.url.startswith(INSIDE):
            return route.continue_()
        outside.append(route.request.url)
        return route.abort()

    def connected(socket):
        if not socket.url.startswith("ws://127.0.0.1:"):
            outside.append(socket.url)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=ARGUMENTS)
        context = browser.new_context(viewport={"width": 1280, "height": 1400})
        context.set_default_timeout(120_000)
        context.route("**/*", answer)
        page = context.new_page()
        page.recorded = Recorded(outside, errors, ran)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("websocket", connected)
        page.on("console", lambda told: ran.append(told.text) if told.text.startswith("canary:") else None)  # any frame
        yield page
        picture(page, re.sub(r"\W+", "_", request.node.name)[:100])
        browser.close()
    assert not outside, "asked of other hosts"
    assert not errors, "errors of the page"
    assert not ran, "text of documents ran as code"


@pytest.fixture
def notebook_page(page, lab):
    """A page for JupyterLab; kernels that a test leaves behind are ended."""
    yield page
    for session in json.loads(lab.request("/api/sessions")):
        lab.request(f"/api/sessions/{session['id']}", "DELETE")
