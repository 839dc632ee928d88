"""`ragtune curate`: the real command, its real server, and a person's clicks in the browser."""

import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import labpage
import pytest

pytestmark = pytest.mark.browser


@pytest.fixture
def served(finished, copy_of, environment, tmp_path):
    """Runs the command on a copy of a run: (address with token, folder, process)."""
    folder, log = copy_of("plain"), tmp_path / "served.log"
    command = [sys.executable, "-m", "ragtune_lib.report", "curate", folder.name, "--reviewer", "ada"]

    def heed_interrupts():  # a shell that starts the tests in the background has them ignored, and children inherit that
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with log.open("w") as stream:
        server = subprocess.Popen(
            command, env=environment, stdout=stream, stderr=stream, start_new_session=True, preexec_fn=heed_interrupts
        )
    try:
        end = time.monotonic() + 300
        while not (found := re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", log.read_text())):
            assert server.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield found.group(), folder, server
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def answer(url):
    """Status and body of a request, redirections followed."""
    try:
        with urllib.request.urlopen(url, timeout=60) as reply:
            return reply.status, reply.read().decode(), reply.url
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), url


def test_a_click_is_on_disk_and_nobody_comes_in_without_the_token(page, served):
    address, folder, server = served
    base, token = address.split("/?token=")

    status, body, where = answer(base)
    assert "/login" in where and "Curation of" not in body, status
    assert "/login" in answer(f"{base}/?token={'x' * len(token)}")[2]
    assert answer(f"{base}/api/kernels/{'0' * 8}-0000-0000-0000-{'0' * 12}")[0] == 403
    for path in ("pairs.jsonl", f"Curation of {folder.name}.ipynb".replace(" ", "%20"), "../run.json", "x.png"):
        for query in ("", f"?token={token}"):
            assert answer(f"{base}/voila/files/{path}{query}")[0] in (403, 404)

    page.goto(address, timeout=labpage.WAIT_MS)
    panel = labpage.Panel(page, folder / "decisions-ada.jsonl")
    panel.press("Keep (a)", "keep")
    assert labpage.lines(panel.decisions)[0]["reviewer"] == "ada"
    labpage.click(page, panel.box.locator(".rt-line").first)
    page.keyboard.press("x")
    panel.expect("keep", "drop")
    assert labpage.serious_findings(page) == []

    server.send_signal(signal.SIGINT)
    assert server.wait(120) == 0
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(base, timeout=5)
