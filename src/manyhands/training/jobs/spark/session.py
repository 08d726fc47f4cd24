"""Spark's session, and frames from the addresses of data."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from manyhands.core.errors import DataError, SettingsError
from manyhands.core.extras import require
from manyhands.core.parameters import parameter
from manyhands.runtime import signals

MASTER = "MANYHANDS_SPARK_MASTER"
"""Variable with the address of the cluster."""
_USUAL = {
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    # Too few slots for all workers are an error after seconds, not after ten minutes.
    "spark.scheduler.barrier.maxConcurrentTasksCheck.interval": "2s",
    "spark.scheduler.barrier.maxConcurrentTasksCheck.maxFailures": "3",
    # An executor that is stopped, or whose machine is gone, is given up after less than a minute, not two.
    "spark.executor.heartbeatInterval": "5s",
    "spark.network.timeout": "40s",
    "spark.network.timeoutInterval": "10s",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "500",
}
_MOST_SHOWN = 300
_LOOK_SECONDS, _CANCEL_SECONDS = 0.2, 10.0


def session(master: str | None = None, settings: Mapping[str, str] = {}) -> Any:
    """Return the session of this program: the one there is, as under spark-submit, or one of its own.

    Parameters
    ----------
    master
        The address of the cluster, such as ``spark://host:7077``, ``yarn``, ``k8s://...`` or ``local[2]``; None: what
        the variable MANYHANDS_SPARK_MASTER, spark-submit or the configuration says.
    settings
        Spark's own, by name.

    Raises
    ------
    SettingsError
        If PySpark or Java is missing, or there is no such cluster.
    """
    require("pyspark")
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("manyhands")
    master = master or os.environ.get(MASTER)
    if master is not None:
        builder = builder.master(master)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    for name, value in {**_USUAL, **settings}.items():
        builder = builder.config(name, value)
    try:
        with _own_interrupts():
            return builder.getOrCreate()
    except Exception as error:  # of PySpark's launcher, Py4J and Spark
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise SettingsError(
            f"Spark does not start ({first[:_MOST_SHOWN]}): is Java 17 there, and the cluster?"
        ) from error


@contextlib.contextmanager
def _own_interrupts() -> Iterator[None]:
    """Keep what Ctrl-C does: Spark's own handler asks the cluster in the middle of another question, and fails."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def collected(frame: Any) -> list[Any]:
    """Return the rows of a frame; Ctrl-C cancels what Spark does for it.

    Raises
    ------
    Exception
        Of Py4J or Spark, if that fails.
    """
    context, group = frame.sparkSession.sparkContext, f"manyhands {secrets.token_hex(8)}"
    rows: list[Any] = []
    errors: list[BaseException] = []

    def collect() -> None:
        try:
            context.setJobGroup(group, "training")
            rows.extend(frame.collect())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=collect, name="manyhands-spark", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_LOOK_SECONDS)
            signals.check()
    except BaseException:
        context.cancelJobGroup(group)
        thread.join(_CANCEL_SECONDS)
        raise
    if errors:
        raise errors[0]
    return rows


def read(spark: Any, address: str) -> Any:
    """Return the frame of an address: Parquet, or CSV files if its name ends like one.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        if address.rstrip("/").removesuffix(".gz").endswith(".csv"):
            first = spark.read.text(address).first()
            named = first is not None and not all(map(_is_number, first[0].split(",")))
            return spark.read.csv(address, header=named, inferSchema=True)
        return spark.read.parquet(address)
    except Exception as error:  # of Spark's analysis, and of what carries its messages
        raise DataError(f"{address}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """Return what an error says, without the stack that Java's bring along."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:_MOST_SHOWN]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def columns_of(frame: Any, label: str, features: Sequence[str] = ()) -> tuple[list[str], str]:
    """Return the columns of the features and of the label.

    Parameters
    ----------
    frame
        A frame.
    label
        Name or number of the label's column.
    features
        The others, if not all other columns are meant.

    Raises
    ------
    SettingsError
        If there is no such column.
    """
    names = list(frame.columns)
    if label not in names:
        if not label.isdigit() or int(label) >= len(names):
            shown = ", ".join(names[:20])
            raise SettingsError(f"{parameter('label_column', label)}: there is no such column, there are {shown}")
        label = names[int(label)]
    return list(features) or [name for name in names if name != label], label
