"""Parts that are tables: CSV files, of which ranges of bytes are blocks, and Parquet files with their row groups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from manyhands.core.errors import DataError, FormatError, MissingDataError
from manyhands.core.extras import require
from manyhands.data.csv.header import Layout, find_layout
from manyhands.data.csv.pieces import Piece, cut_lines
from manyhands.data.csv.reader import read_piece
from manyhands.data.parquet import columns_of, examples_of
from manyhands.data.parts.description import BLOCK_BYTES, Block, Part, State, check_state

_LARGEST_WHOLE = 16 << 20
"""Bytes of a CSV file that is read at once, if it must be."""


def is_parquet(path: Path) -> bool:
    """Return whether a file is a Parquet file by its name."""
    return path.suffix.lower() in (".parquet", ".pq")


class Columns(NamedTuple):
    """The columns of a table: names of the features if there are any, that of the label, their number, their types."""

    features: tuple[str, ...] | None
    label: str | None
    width: int
    types: tuple[str, ...] = ()


def read(part: Part, block: Block) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return features and labels of a block of a CSV or a Parquet file, which must be as it was."""
    path = part.files[0]
    check_state(path, part.states[0], State.of(path))
    if part.form == "csv":
        layout = _layout(part)
        piece = Piece(path, block.start, block.stop) if block.stop else Piece(path, skip=int(layout.header))
        return read_piece(layout, piece)
    with _parquet(path) as file:
        table = file.read_row_groups(list(range(block.start, block.stop)))
    return _arrays(path, table, part.layout["label_column"])


def columns_of_part(path: Path, label_column: str | int | None, delimiter: str | None) -> Columns:
    """Return the columns of a CSV or a Parquet file; errors as those of their readers."""
    if is_parquet(path):
        with _parquet(path) as file:
            schema = file.schema_arrow
        kept, found = columns_of(path, tuple(map(str, schema.names)), label_column)
        features = [place for place in kept if place != found.label_at]
        types = tuple(f"{schema.names[place]}: {schema.types[place]}" for place in kept)
        names = tuple(found.names[place] for place in features)
        return Columns(names, found.names[found.label_at], len(features), types)
    layout = find_layout(path, label_column, delimiter)
    return Columns(layout.features, layout.label, len(layout.feature_columns))


def blocks_of(
    path: Path, label_column: str | int | None, delimiter: str | None
) -> Iterator[tuple[Block, NDArray[Any], NDArray[Any]]]:
    """Yield all blocks of a CSV or a Parquet file, with their features and labels; errors as those of their readers."""
    if is_parquet(path):
        yield from _row_groups(path, label_column)
    else:
        yield from _lines(path, find_layout(path, label_column, delimiter))


def layout_of(path: Path, label_column: str | int | None, delimiter: str | None) -> dict[str, Any]:
    """Return what :func:`read` needs of a file besides its blocks."""
    if is_parquet(path):
        return {"label_column": label_column}
    found = find_layout(path, label_column, delimiter)
    return {"label_column": label_column, "delimiter": found.delimiter}


def _layout(part: Part) -> Layout:
    return find_layout(part.files[0], part.layout["label_column"], part.layout["delimiter"])


def _lines(path: Path, layout: Layout) -> Iterator[tuple[Block, NDArray[Any], NDArray[Any]]]:
    """Yield ranges of bytes that begin and end with lines; a small file that has none (quoted cells) is one block."""
    whole = Piece(path, skip=int(layout.header))
    pieces = cut_lines(whole, BLOCK_BYTES)
    if pieces is None:
        if State.of(path).size > _LARGEST_WHOLE:
            raise FormatError(
                "a compressed part, or one with quoted cells, cannot be read in blocks: unpack it, leave quotation "
                "marks out, or save it as Parquet",
                path=path,
            )
        pieces = [whole]
    for piece in pieces:
        features, labels = read_piece(layout, piece)
        if len(labels):
            yield Block(piece.begin, piece.end or 0, len(labels)), features, labels


def _row_groups(path: Path, label_column: str | int | None) -> Iterator[tuple[Block, NDArray[Any], NDArray[Any]]]:
    with _parquet(path) as file:
        for number in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(number).num_rows
            if rows:
                features, labels = _arrays(path, file.read_row_groups([number]), label_column)
                yield Block(number, number + 1, rows), features, labels


def _arrays(path: Path, table: Any, label_column: str | int | None) -> tuple[NDArray[Any], NDArray[Any]]:
    found = examples_of(path, table, label_column, quiet=True)
    return found.flat(), found.labels


def _parquet(path: Path) -> Any:
    """Open a Parquet file; whatever pyarrow says of one that is none becomes our error."""
    require("pyarrow")
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except FileNotFoundError as error:
        raise MissingDataError("this part is not there", path=path) from error
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"cannot be read ({error.strerror})", path=path) from error
        raise FormatError(f"no Parquet file, or a damaged one ({error}); write it again", path=path) from error
