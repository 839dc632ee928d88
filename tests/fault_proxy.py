"""A chat server that misbehaves: the OpenAI interface on loopback, with faults, by itself or before another server.

    with FaultServer(answer) as server:          # answers by a function
    with FaultServer(upstream=url) as server:    # passes requests on

`faults(text, attempt)` names the fault for a request: its last message, and how often it was asked before. `finished`
counts, by the last message, the replies that a client can use; so a repeated call shows.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = (
    "429", "429 after", "429 date", "500", "502", "503 after", "slow", "reset", "reset early",
    "truncated", "no json", "empty", "refusal", "schema", "length", "filter", "error in 200",
)  # fmt: skip


def some_faults(share, kinds=FAULTS, seed=17):
    """The same faults for the same requests in every run: `share` of all attempts, one kind as likely as another."""

    def fault(text, attempt):
        dice = random.Random(f"{seed} {text} {attempt}")
        return dice.choice(kinds) if dice.random() < share else ""

    return fault


class FaultServer:
    """A server on a free port of loopback (or on `port`), stopped at the end of the `with` block."""

    def __init__(self, answer=None, faults=None, upstream="", latency=0.0, port=0, headers=None, key="", slow=1.0):
        self.answer = answer or (lambda body: f"reply to {body['messages'][-1]['content']}")
        self.faults = faults or (lambda text, attempt: "")
        self.upstream, self.latency, self.key, self.slow = upstream, latency, key, slow
        self.headers = headers or (lambda: {})
        self.asked, self.finished, self.given, self.bodies = Counter(), Counter(), Counter(), []
        self.active = self.most_active = 0
        self.files, self.batches = {}, {}
        self.lock = threading.Lock()
        self.http = _Http(("127.0.0.1", port), _Handler)
        self.http.state = self
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that goes away is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_):
        pass

    def do_GET(self):
        state, path = self.server.state, self.path.split("?")[0]
        if path == "/v1/batches":
            return self.send({"object": "list", "data": list(state.batches.values()), "has_more": False})
        if path.startswith("/v1/batches/"):
            batch = state.batches[path.rsplit("/", 1)[1]]
            batch["looks"] = batch.get("looks", 0) + 1
            if batch["looks"] > 1 and batch["status"] == "in_progress":
                work_on(state, batch)
            return self.send(batch)
        if path.endswith("/content"):
            return self.send(state.files[path.split("/")[-2]])
        return self.send({"data": [{"id": "m"}]})

    def do_POST(self):
        state = self.server.state
        raw = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/files":
            boundary = self.headers["content-type"].split("boundary=")[1].encode()
            part = next(part for part in raw.split(b"--" + boundary) if b'name="file"' in part)
            name = f"file-{len(state.files)}"
            state.files[name] = part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
            return self.send({"id": name})
        if self.path == "/v1/batches":
            wish = json.loads(raw)
            name = f"batch-{len(state.batches)}"
            state.batches[name] = {"id": name, "status": "in_progress", **wish}
            if fault := state.faults("batch", len(state.batches) - 1):
                return self.misbehave(fault, b"{}")
            return self.send(state.batches[name])
        with state.lock:
            state.active += 1
            state.most_active = max(state.most_active, state.active)
        try:
            self.chat(raw)
        finally:
            with state.lock:
                state.active -= 1

    def chat(self, raw):
        state, body = self.server.state, json.loads(raw)
        text = body["messages"][-1]["content"]
        with state.lock:
            attempt = state.asked[text]
            state.asked[text] += 1
            state.bodies.append(body)
        if state.key and self.headers.get("authorization") != f"Bearer {state.key}":
            said = f"Incorrect API key provided: {self.headers.get('authorization')}"
            return self.send({"error": {"message": said, "code": "invalid_api_key"}}, 401)
        time.sleep(state.latency)
        fault = state.faults(text, attempt)
        with state.lock:
            state.given[fault] += 1
        if fault == "slow":
            time.sleep(state.slow)
            fault = ""
        status, content = (200, b"")
        if not fault.startswith(("4", "5")):
            status, content = self.passed_on(raw) if state.upstream else (200, completion(body, state.answer(body)))
        if fault or status != 200:
            return self.misbehave(fault, content, status)
        with state.lock:
            state.finished[text] += 1
        return self.send(content, 200, state.headers())

    def passed_on(self, raw):
        headers = {name: self.headers[name] for name in ("content-type", "authorization") if self.headers[name]}
        request = urllib.request.Request(self.server.state.upstream + self.path.removeprefix("/v1"), raw, headers)
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def misbehave(self, fault, content, status=200):
        error = {"error": {"message": f"fault {fault}"}}
        if fault[:3].isdigit():
            waits = {"after": "0.05", "date": formatdate(time.time() + 1, usegmt=True), "long": "86400"}
            wait = next((value for name, value in waits.items() if fault.endswith(name)), None)
            if "quota" in fault:
                error["error"]["code"] = "insufficient_quota"
            if ":" in fault:
                error["error"]["message"] = fault.split(": ", 1)[1]
            return self.send(error, int(fault[:3]), {"retry-after": wait} if wait else {})
        if fault == "reset early":
            return self.hang_up()
        if fault == "reset":
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            return self.hang_up()
        if fault == "truncated":
            return self.send(content[: len(content) // 2])
        if fault == "no json":
            return self.send(b"<html>Bad gateway</html>")
        if fault == "error in 200":
            return self.send({"error": {"message": "provider returned an error", "code": 502}})
        if not fault:
            return self.send(content, status)
        answer = json.loads(content)
        message = answer["choices"][0]["message"]
        if fault == "empty":
            message["content"] = ""
        elif fault == "refusal":
            message.update(content=None, refusal="I cannot help with that.")
        elif fault == "schema":
            message["content"] = '{"unasked": [1, 2]}'
        elif fault == "length":
            message["content"] = message["content"][:5]
            answer["choices"][0]["finish_reason"] = "length"
        elif fault == "filter":
            answer["choices"][0]["finish_reason"] = "content_filter"
        return self.send(answer)

    def hang_up(self):
        """A reset and no orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def send(self, content, status=200, headers=None):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def completion(body, text):
    """A chat completion that says `text`; a token has four characters."""
    read = sum(len(message["content"]) for message in body["messages"]) // 4
    answer = {
        "object": "chat.completion",
        "model": f"{body['model']}-2026",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": read, "completion_tokens": len(text) // 4},
    }
    return json.dumps(answer).encode()


def work_on(state, batch):
    """Finish a batch: an output row for each request without a fault, in reverse order, and an error row for others."""
    output, errors = [], []
    for line in reversed(state.files[batch["input_file_id"]].decode().splitlines()):
        row = json.loads(line)
        text = row["body"]["messages"][-1]["content"]
        fault = state.faults(text, 0)
        done = {"custom_id": row["custom_id"], "response": {"status_code": 200, "body": {}}}
        if fault:
            done["response"] = {"status_code": 500, "body": {"error": {"message": fault}}}
        else:
            done["response"]["body"] = json.loads(completion(row["body"], state.answer(row["body"])))
            state.finished[text] += 1
        (errors if fault else output).append(json.dumps(done))
    name = f"file-{len(state.files)}"
    state.files[name] = "\n".join(output).encode()
    batch.update(status="completed", output_file_id=name)
    if errors:
        state.files[f"{name}-errors"] = "\n".join(errors).encode()
        batch["error_file_id"] = f"{name}-errors"
