"""``manyhands train --team spark``: a run inside a Spark cluster, on data that its executors read."""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING

from manyhands.cli import options as shared
from manyhands.core.errors import SettingsError

if TYPE_CHECKING:
    from manyhands.training.jobs.spark.driver import Outcome
    from manyhands.training.spec import RunSpec

TEAM = "spark"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run inside a Spark cluster."""
    group = parser.add_argument_group("spark (with --team spark)")
    group.add_argument(
        "--master", metavar="URL", help="spark://host:port, yarn, k8s://... (default: as spark-submit says)"
    )
    group.add_argument("--test-data", metavar="URL", help="test samples, like --data: Parquet or CSV files")
    group.add_argument(
        "--features", metavar="C[,C...]", type=shared.list_of(str), help="columns (default: all but the label's)"
    )
    group.add_argument(
        "--spark-conf", action="append", default=[], metavar="NAME=VALUE", help="a setting of Spark's own"
    )


def reads(options: argparse.Namespace, spec: RunSpec) -> bool:
    """Return whether Spark reads the data: an address, or Parquet or CSV files."""
    name = options.data.rstrip("/").removesuffix(".gz")
    return spec.team == TEAM and ("://" in name or name.endswith((".parquet", ".csv")))


def check_unused(options: argparse.Namespace, spec: RunSpec) -> None:
    """Refuse Spark's options for other teams; data sets that come along need the cluster's address only."""
    for name in ("master", "test_data", "features", "spark_conf"):
        if not getattr(options, name):
            continue
        if spec.team != TEAM:
            raise SettingsError(f"{shared.option(name)} is for --team {TEAM}")
        if name != "master":
            raise SettingsError(f"{shared.option(name)} is for data that Spark reads, such as --data file:///...")
    if options.master:
        os.environ["MANYHANDS_SPARK_MASTER"] = options.master


def train(options: argparse.Namespace, spec: RunSpec) -> tuple[Outcome, str]:
    """Train, and return what has come of it, and what Spark has taken beside, in words."""
    from manyhands.training.jobs.spark.driver import SparkJob
    from manyhands.training.jobs.spark.session import columns_of, read, session

    if options.train_csv or options.test_csv or options.csv:
        raise SettingsError(f"with --team {TEAM}, --data and --test-data name CSV files, too")
    began = time.perf_counter()
    spark = session(options.master, _settings(options.spark_conf))
    ready = time.perf_counter()
    frame = read(spark, options.data)
    test = None if options.test_data is None else read(spark, options.test_data)
    features, label = columns_of(frame, options.label_column or "0", options.features or ())
    name = options.data.rstrip("/").rpartition("/")[2]
    job = SparkJob(frame, test, features, label, name)
    outcome = job.outcome(spec, "round" if options.log_rounds else "epoch")
    around = time.perf_counter() - ready - outcome.result.seconds["total"]
    return outcome, f"{ready - began:.1f} s until its session was there, {around:.1f} s around the training"


def _settings(given: list[str]) -> dict[str, str]:
    for each in given:
        if "=" not in each:
            raise SettingsError(f"--spark-conf {each}: give a name and a value, such as spark.task.cpus=1")
    return dict(each.split("=", 1) for each in given)
