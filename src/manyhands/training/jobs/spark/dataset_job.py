"""Runs inside Spark on a data set that this process has: its rows go to the executors as Parquet files.

For studies, which draw splits of data sets, and for those that come along. Data that are too large for this process,
executors read themselves (`manyhands.training.jobs.spark.driver.SparkJob`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from manyhands.core.callbacks import CallbackLike, as_callbacks, finest
from manyhands.core.errors import OutputError, SettingsError
from manyhands.core.extras import require
from manyhands.core.parameters import parameter
from manyhands.core.samples import Samples
from manyhands.data.dataset import Dataset
from manyhands.data.labels import describe_labels
from manyhands.data.partitioning import Partition
from manyhands.training.jobs.exchange import refuse_worker_callbacks
from manyhands.training.jobs.folder import temporary_folder
from manyhands.training.jobs.spark.driver import SparkJob
from manyhands.training.jobs.spark.session import read, session
from manyhands.training.plan import Plan
from manyhands.training.result import Progress, TrainingResult
from manyhands.training.spec import RunSpec
from manyhands.training.sums import NOT_THEIRS

_ROWS_AT_ONCE = 5000


class DatasetJob:
    """A data set in a folder that executors can reach; use it in a ``with`` statement.

    Parameters
    ----------
    dataset
        What all its runs train on.

    Raises
    ------
    SettingsError
        If PySpark or Java is missing, there is no cluster, or the data set has more than classes.
    OutputError
        If there is no room for the rows.
    """

    is_over = False
    """Whether it can carry out no more plans: every run has a stage of its own."""

    def __init__(self, dataset: Dataset) -> None:
        require("pyspark")
        if dataset.validation is not None:
            raise SettingsError(f"on Spark, all training rows are trained on: leave {parameter('validation')} out")
        if dataset.train.targets is not None or dataset.train.weights is not None:
            raise SettingsError("on Spark, samples have labels, and neither targets nor weights: use other workers")
        self.dataset = dataset
        self._open = ExitStack()
        try:
            folder = self._open.enter_context(temporary_folder())
            for name, samples in (("train", dataset.train), ("test", dataset.test)):
                _write(samples, folder / f"{name}.parquet")
            spark = session()
            self._train, self._test = (read(spark, f"file://{folder}/{name}.parquet") for name in ("train", "test"))
        except BaseException:
            self._open.close()
            raise

    def __enter__(self) -> DatasetJob:
        return self

    def __exit__(self, *_failure: object) -> None:
        self._open.close()

    def run(
        self, plan: Plan, progress: Progress | None = None, callbacks: Sequence[CallbackLike] = ()
    ) -> TrainingResult:
        """Carry out a plan, as `manyhands.training.jobs.client.Job.run` does; Spark shows no progress."""
        scaling, shape = self.dataset.scaling, self.dataset.train.sample_shape
        given = {
            "classes": describe_labels(self.dataset.classes),
            "scaling": [scaling.name, scaling.threshold, {n: v.tolist() for n, v in scaling.vectors().items()}],
        }
        changed: dict[str, Any] = {
            "scale": "none",
            "shape": shape if len(shape) == 3 else None,
            "partition": None if plan.partition == Partition() else plan.partition,
            **dict.fromkeys(("binarize", "validation", "labels", "train_size")),
            **dict.fromkeys(NOT_THEIRS if plan.needs.sums else ()),  # decided, not asked for
        }
        spec = RunSpec.from_json(plan.portable().to_json()).changed(**changed)
        job = SparkJob(self._train, self._test, ["features"], "label", self.dataset.name, given=given)
        called = as_callbacks(callbacks)
        refuse_worker_callbacks(called)
        outcome = job.outcome(spec, finest(called))
        outcome.send(called)
        self.dataset.note_changes()
        return replace(outcome.result, plan=plan)


def _write(samples: Samples, path: Path) -> None:
    """Write rows as Parquet, in their order: one column of bytes or of lists, and one of class numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = samples.features
    if table.dtype == np.uint8:
        features = pa.array([row.tobytes() for row in table], pa.binary())
    else:
        bounds = np.arange(len(table) + 1, dtype=np.int64) * table.shape[1]
        features = pa.LargeListArray.from_arrays(pa.array(bounds), pa.array(table.reshape(-1)))
    columns: dict[str, Any] = {"features": features, "label": pa.array(samples.labels)}
    try:
        pq.write_table(pa.table(columns), path, row_group_size=_ROWS_AT_ONCE)
    except OSError as error:
        raise OutputError(f"cannot hand the data over through {path.parent}: {error.strerror or error}") from error
