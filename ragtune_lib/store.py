"""Where artifacts live: content ids, JSON Lines, the run folder, a durable cache.

Files are written to a temporary name beside the target, flushed to the disk and renamed, so a kill or a full disk
leaves either the old file or the new one. Append-only files may lose their last line to a kill; it is cut off on the
next read and done again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

Record = TypeVar("Record")
BUFFER = 1 << 17  # bytes; a million lines are not a million small writes
ROOT = Path(__file__).resolve().parents[1]


def content_id(*parts: object) -> str:
    """Id of a value made from its content: 16 hexadecimal digits of SHA-256 over the JSON of `parts`.

    >>> content_id("a", 1) == content_id("a", 1) != content_id("a1")
    True
    """
    return hashlib.sha256(to_json(parts).encode()).hexdigest()[:16]


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def run_path(run: str) -> Path:
    """Where the folder of a run is, below `outputs/` (or below $RAGTUNE_OUTPUTS), whether or not it is there.

    Raises:
        ValueError: if `run` is not a plain name (letters, digits, dot, dash, underscore).
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", run):
        raise ValueError(f"run name {run!r}: use letters, digits, '.', '-' and '_' only, e.g. run=my-notes")
    return Path(os.environ.get("RAGTUNE_OUTPUTS") or ROOT / "outputs") / run


def run_folder(run: str) -> Path:
    """Folder of one run, made when it is missing; see `run_path`.

    Raises:
        ValueError: likewise.
    """
    folder = run_path(run)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def to_json(value: Any) -> str:
    """One line of JSON with a stable order: keys as declared, tuples as lists, NaN and infinity as null.

    U+2028 and its like stay as they are: lines are split at the newline character alone.
    """
    try:
        return _ENCODER.encode(value)
    except ValueError:  # NaN or infinity, which JSON does not have
        return _ENCODER.encode(_plain(value))


@cache
def _names(kind: type) -> tuple[str, ...]:
    if not is_dataclass(kind):
        raise TypeError(f"{kind.__name__} has no JSON form")
    return tuple(field.name for field in fields(kind))


def _as_dict(record: Any) -> dict[str, Any]:
    """A record as the encoder wants it; `dataclasses.asdict` would copy all that is inside."""
    return {name: getattr(record, name) for name in _names(type(record))}


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False, default=_as_dict
)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in _names(type(value))}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_text(path: Path, text: str) -> None:
    """Replace a text file as a whole, or leave it as it was; see `write_bytes`."""
    write_bytes(path, [text.encode()])


def write_bytes(path: Path, parts: Iterable[bytes]) -> None:
    """Replace a file as a whole by what the parts join to, or leave it as it was.

    Raises:
        OSError: if the disk is full or the folder is missing; the old file is then untouched.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb", buffering=BUFFER) as stream:
            stream.writelines(parts)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write one indented JSON document; NaN and infinity become null, since JSON has neither."""
    write_text(path, json.dumps(_plain(value), ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON document.

    Raises:
        FileNotFoundError: names the missing artifact.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run the notebook that writes it first (see README, the tree)")
    return json.loads(path.read_text(encoding="utf-8"))


def write_records(path: Path, records: Iterable[Any]) -> None:
    """Write records as JSON Lines, replacing the file as a whole; never all of them in memory at once."""
    write_bytes(path, (f"{to_json(record)}\n".encode() for record in records))


def append_record(path: Path, record: Any) -> None:
    """Append one record and put it on the disk before returning; a cut-off last line is ended first."""
    append_records(path, [record])


def append_records(path: Path, records: Iterable[Any]) -> None:
    """Append records in one write and put them on the disk before returning; a cut-off last line is ended first.

    A kill or a full disk in the middle leaves the first of them, and perhaps one that is cut off.
    """
    lines = "".join(f"{to_json(record)}\n" for record in records).encode()
    new = not path.exists()
    with path.open("a+b") as stream:
        if stream.tell() and not _ends_with_newline(stream):
            lines = b"\n" + lines
        stream.write(lines)
        stream.flush()
        os.fsync(stream.fileno())
    if new:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Put a folder's new names on the disk too: the content of a file without its name is lost with the power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _ends_with_newline(stream: Any) -> bool:
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) == b"\n"


def read_lines(path: Path) -> tuple[list[Any], list[str]]:
    """Read JSON Lines as far as they can be read.

    Returns:
        The values in order, and one message ("file, line N: why") for each line that is no JSON. A kill while
        appending leaves such a line; its item counts as not done.
    """
    values: list[Any] = []
    bad: list[str] = []
    if not path.exists():
        return values, bad
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                values.append(json.loads(line.decode("utf-8")))
            except (UnicodeDecodeError, json.JSONDecodeError) as error:
                bad.append(f"{path.name}, line {number}: {error}")
    return values, bad


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """Read an artifact that a stage wrote as a whole.

    Raises:
        FileNotFoundError: names the missing artifact and the notebook to run first.
        ValueError: a line that is no JSON or lacks a field, with file and line.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run the notebook that writes it first (see README, the tree)")
    values, bad = read_lines(path)
    if bad:
        raise ValueError(f"{bad[0]}; delete {path.name} and run its notebook again")
    return [to_record(kind, value, f"{path.name}, record {number}") for number, value in enumerate(values, 1)]


def to_record(kind: type[Record], value: Any, where: str = "record") -> Record:
    """Build a record from its JSON form; lists become tuples, nested records are rebuilt.

    Raises:
        ValueError: if a field is missing or unknown; says where.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected an object with the fields of {kind.__name__}, got {value!r:.60}")
    names = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(value) - set(names))
    if unknown:
        raise ValueError(f"{where}: unknown field {unknown[0]!r} for {kind.__name__}")
    hints = get_type_hints(kind)
    try:
        return kind(**{name: _typed(hints[name], item) for name, item in value.items()})
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error


def _typed(hint: Any, value: Any) -> Any:
    inner = getattr(hint, "__args__", ())
    if isinstance(value, list):
        element = inner[0] if inner else None
        return tuple(_typed(element, item) for item in value)
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, dict):
        return to_record(hint, value, hint.__name__)
    return float("nan") if value is None and hint is float else value


class Cache:
    """A durable map from a content id to a finished result, one JSON line each.

    A result is on the disk before `put` returns, so a killed stage repeats nothing that was finished. Lines that a
    kill cut off are ignored and their items done again.
    """

    def __init__(self, path: Path):
        self.path = path
        values, _ = read_lines(path)
        self.values = {
            row["key"]: row["value"] for row in values if isinstance(row, dict) and {"key", "value"} <= set(row)
        }

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def get(self, key: str) -> Any:
        """The stored result; KeyError when there is none."""
        return self.values[key]

    def put(self, key: str, value: Any) -> None:
        """Store a finished result."""
        append_record(self.path, {"key": key, "value": value})
        self.values[key] = json.loads(to_json(value))
