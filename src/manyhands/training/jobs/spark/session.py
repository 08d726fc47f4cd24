"""Spark's session, and frames from the addresses of data."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from manyhands.core.errors import DataError, ManyhandsError, SettingsError
from manyhands.core.extras import require
from manyhands.core.parameters import parameter

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


def session(master: str | None = None, settings: Mapping[str, str] = {}) -> Any:
    """Return the session of this program: the one there is, as under spark-submit, or one of its own.

    Parameters
    ----------
    master
        The address of the cluster, such as ``spark://host:7077``, ``yarn``, ``k8s://...`` or ``local[2]``; None: what
        spark-submit or the configuration says.
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
    if master is not None:
        builder = builder.master(master)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    for name, value in {**_USUAL, **settings}.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except Exception as error:  # of PySpark's launcher, Py4J and Spark
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise SettingsError(
            f"Spark does not start ({first[:_MOST_SHOWN]}): is Java 17 there, and the cluster?"
        ) from error


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
    except ManyhandsError:
        raise
    except Exception as error:  # of Spark's analysis, and of what carries its messages
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise DataError(f"{address}: {first[:_MOST_SHOWN]}") from error


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
