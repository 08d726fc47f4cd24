"""Frames as the tasks of a job take them: numbered rows, one partition for each worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from manyhands.core.errors import DataError
from manyhands.training.jobs.spark.rows import FEATURES, LABEL, ROW, TEST


def prepared(train: Any, test: Any | None, features: Sequence[str], label: str, workers: int) -> Any:
    """Return the frame of a job: one partition for each worker, none of whose rows has passed through the driver.

    Parameters
    ----------
    train, test : pyspark.sql.DataFrame
        The rows; ``test`` may be None.
    features
        The columns of the features: one of bytes, lists or vectors, or several of numbers.
    label
        The column of the labels.
    workers
        Number of partitions.

    Raises
    ------
    DataError
        If there is no such column.
    """
    frame = _columns(train, features, label, is_test=False)
    if test is None and frame.rdd.getNumPartitions() == workers:
        return frame
    if test is not None:
        frame = frame.unionByName(_columns(test, features, label, is_test=True))
    # Not coalesce: a barrier stage must have as many partitions from its first transformation on (SPARK-24820).
    return frame.repartition(workers)


def _columns(frame: Any, features: Sequence[str], label: str, *, is_test: bool) -> Any:
    from pyspark.ml.functions import vector_to_array
    from pyspark.ml.linalg import VectorUDT
    from pyspark.sql import functions

    check_columns(frame, [*features, label])
    found = []
    for number, name in enumerate(features):
        column = functions.col(_quoted(name))
        if isinstance(frame.schema[name].dataType, VectorUDT):
            column = vector_to_array(column)
        found.append(column.alias(f"{FEATURES}_{number}"))
    return frame.select(
        functions.monotonically_increasing_id().alias(ROW),
        functions.lit(is_test).alias(TEST),
        functions.col(_quoted(label)).alias(LABEL),
        *found,
    )


def check_columns(frame: Any, names: Sequence[str]) -> None:
    """Raise DataError if a frame lacks a column."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise DataError(f"there is no column {missing[0]!r}: there are {', '.join(map(repr, frame.columns[:20]))}")


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
