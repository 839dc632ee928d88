"""Finished replies, kept on disk by the content of their call.

SQLite in its write-ahead mode and not JSON Lines: nothing is read at the start, however many calls there are; what
another process has stored is seen at once; a kill leaves a whole database; and there is no file lock of our own to get
wrong. The price is that a reply is not read with `less`; `sqlite3 calls.sqlite 'select reply from replies'` does. The
file belongs on a local disk: SQLite's write-ahead mode does not work between machines.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from ragtune_lib.llm.calls import Call, Reply

TABLES = """
create table if not exists replies (
    key text primary key, model text not null, characters integer not null, max_tokens integer not null,
    prompt_tokens integer not null, output_tokens integer not null, reply text not null) without rowid;
create index if not exists by_model on replies (model, characters, max_tokens, prompt_tokens, output_tokens);
create table if not exists batches (
    mark text primary key, endpoint text not null, batch text not null, keys text not null);
"""
PATIENCE = 60.0  # seconds to wait for another process that writes


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums over the kept replies of one model, by which a forecast is calibrated."""

    replies: int
    characters: int  # sent
    max_tokens: int  # allowed
    prompt_tokens: int
    output_tokens: int


class ReplyCache:
    """A durable map from a call's key to its reply, safe for many threads and many processes.

    Raises:
        sqlite3.DatabaseError: if the file is no cache; names the file.
    """

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write_lock, self._read_lock, self._gate = threading.Lock(), threading.Lock(), threading.Lock()
        self._waiting: list[tuple] = []
        try:
            self._writer, self._reader = self._connect(), self._connect()
            self._writer.executescript(TABLES)
        except sqlite3.DatabaseError as error:
            raise type(error)(f"{path}: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        connection.execute("pragma journal_mode=wal")
        connection.execute("pragma synchronous=full")  # on the disk, not only with the operating system
        return connection

    def get(self, key: str) -> Reply | None:
        """The reply of a call, or None."""
        with self._read_lock:
            row = self._reader.execute("select reply from replies where key = ?", (key,)).fetchone()
        return Reply(**json.loads(row[0])) if row else None

    def put(self, key: str, model: str, call: Call, reply: Reply) -> None:
        """Store a reply; it is on the disk when this returns.

        Threads that come while another one writes are written together by the next: one flush serves them all.

        Raises:
            sqlite3.OperationalError: if the disk is full; the reply then waits for the next `put`.
        """
        text = json.dumps(asdict(reply), ensure_ascii=False, separators=(",", ":"))
        counts = (call.characters, call.max_tokens, reply.prompt_tokens, reply.output_tokens)
        with self._gate:
            self._waiting.append((key, model, *counts, text))
        with self._write_lock:
            with self._gate:
                rows, self._waiting = self._waiting, []
            if not rows:
                return  # written by the thread before
            try:
                self._writer.execute("begin immediate")
                self._writer.executemany("insert or replace into replies values (?, ?, ?, ?, ?, ?, ?)", rows)
                self._writer.execute("commit")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("rollback")
                with self._gate:
                    self._waiting = rows + self._waiting
                raise

    def usage(self, model: str) -> Usage:
        """Sums over the kept replies of a model."""
        sums = "count(*), total(characters), total(max_tokens), total(prompt_tokens), total(output_tokens)"
        with self._read_lock:
            row = self._reader.execute(f"select {sums} from replies where model = ?", (model,)).fetchone()
        return Usage(*map(int, row))

    def models(self) -> list[str]:
        """Specs of all models with kept replies, sorted."""
        with self._read_lock:
            return [name for (name,) in self._reader.execute("select distinct model from replies order by model")]

    def note_batch(self, mark: str, endpoint: str, batch: str, keys: list[str]) -> None:
        """Remember a provider's batch; `batch` is "" from before it is handed in until its id is known."""
        with self._write_lock:
            row = (mark, endpoint, batch, json.dumps(keys))
            self._writer.execute("insert or replace into batches values (?, ?, ?, ?)", row)

    def open_batches(self, endpoint: str) -> list[tuple[str, str, list[str]]]:
        """(mark, batch id, keys) of the batches whose results have not been fetched."""
        with self._read_lock:
            rows = self._reader.execute(
                "select mark, batch, keys from batches where endpoint = ? order by mark", (endpoint,)
            ).fetchall()
        return [(mark, batch, json.loads(keys)) for mark, batch, keys in rows]

    def forget_batch(self, mark: str) -> None:
        """The results of a batch are in the cache, or there are none."""
        with self._write_lock:
            self._writer.execute("delete from batches where mark = ?", (mark,))

    def close(self) -> None:
        """Close the file; replies stay."""
        self._writer.close()
        self._reader.close()
