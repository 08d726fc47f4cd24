"""Checksums of records, so that a changed file is never taken for a measurement."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manyhands.core.errors import FormatError
from manyhands.runtime.atomic_files import write_json

FIELD = "checksum"
_DIGEST = re.compile("[0-9a-f]{64}")


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as its file has it: plain data, and the SHA-256 of all of it."""
    plain = json.loads(json.dumps(record))
    plain.pop(FIELD, None)
    return {**plain, FIELD: _checksum(plain)}


def unsealed(record: Any) -> Any:
    """Return a record from a file without its checksum (files of older versions have none).

    Raises
    ------
    FormatError
        If the record is not the one that the checksum was made for.
    """
    if not isinstance(record, dict):
        return record
    name = _name_of_seal(record)
    if name is None:
        return record
    inner = {each: value for each, value in record.items() if each != name}
    if name != FIELD or record[name] != _checksum(inner):
        raise FormatError(
            "it was changed after it was written, or is damaged: its checksum is another one; take a copy that is "
            f"whole, or, if the change is yours, delete the field {name}"
        )
    return inner


def _name_of_seal(record: Mapping[str, Any]) -> str | None:
    """Return the name of the field with the checksum; in a damaged file it may be another one."""
    if FIELD in record:
        return FIELD
    return next((name for name, value in record.items() if isinstance(value, str) and _DIGEST.fullmatch(value)), None)


def write_record(path: str | Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON with its checksum, whole or not at all (then OutputError)."""
    write_json(path, sealed(record))


def _checksum(plain: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain data, whatever the order of its fields and its spaces."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
