"""A classifier for `pyspark.ml`: `fit` trains inside the cluster, and its model scores in parallel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pyspark import keyword_only
from pyspark.ml import Estimator, Model
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.ml.util import (
    DefaultParamsReadable,
    DefaultParamsReader,
    DefaultParamsWritable,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)
from pyspark.sql import DataFrame, functions
from pyspark.sql.types import ArrayType, DoubleType, StringType

from manyhands.core.settings import check_names
from manyhands.exporting.sklearn_network import network_to_sklearn
from manyhands.runtime.atomic_files import write_whole
from manyhands.spark.parameters import SETTINGS, ClassifierParams
from manyhands.training.jobs.folder import temporary_folder
from manyhands.training.jobs.spark.driver import SparkJob
from manyhands.training.jobs.spark.frames import check_columns
from manyhands.training.loading import load_model
from manyhands.training.model import TrainedModel

_FILE = "model.safetensors"
_OWN = ("num_workers", "max_restarts", "featuresCol", "labelCol", "predictionCol", "probabilityCol")


class MLPClassifier(ClassifierParams, Estimator, DefaultParamsWritable, DefaultParamsReadable):
    """Trains a network with `num_workers` tasks of one barrier stage, which need that many free slots.

    Parameters
    ----------
    num_workers
        Tasks that train together.
    featuresCol, labelCol, predictionCol, probabilityCol
        Columns. Features are bytes (``binary``), a list of numbers, or a vector of `pyspark.ml`. Labels are numbers or
        words; predictions of numbers are doubles, as evaluators take them.
    max_restarts
        How often a stage that has lost a task is started again.
    **settings
        Any setting of a run that makes sense in a cluster, such as ``strategy="periodic:1epoch"``, ``epochs=20``,
        ``hidden=(64,)``; `SETTINGS` in `manyhands.spark.parameters` has all. Each is a parameter, so a
        `ParamGridBuilder` can vary it.

    Raises
    ------
    TypeError
        If there is no such setting, or a value cannot be.
    """

    @keyword_only
    def __init__(
        self,
        *,
        num_workers: int = 1,
        max_restarts: int = 3,
        featuresCol: str = "features",  # noqa: N803 - Spark's names
        labelCol: str = "label",  # noqa: N803
        predictionCol: str = "prediction",  # noqa: N803
        probabilityCol: str = "probability",  # noqa: N803
        **settings: Any,
    ) -> None:
        super().__init__()
        check_names("MLPClassifier", settings, [*_OWN, *SETTINGS])
        self._set(**self._input_kwargs)  # of keyword_only

    @keyword_only
    def setParams(self, **settings: Any) -> MLPClassifier:  # noqa: N802 - Spark's name
        """Set some of the parameters that the constructor takes."""
        check_names("setParams", self._input_kwargs, [*_OWN, *SETTINGS])
        self._set(**self._input_kwargs)
        return self

    def _fit(self, dataset: DataFrame) -> MLPClassifierModel:
        job = SparkJob(
            dataset,
            None,
            [self.getFeaturesCol()],
            self.getLabelCol(),
            name="the frame",
            restarts=self.getOrDefault(self.max_restarts),
        )
        return self._copyValues(MLPClassifierModel(job.run(self.spec()).model))


class MLPClassifierModel(ClassifierParams, Model, MLWritable, MLReadable):
    """A fitted `MLPClassifier`.

    Attributes
    ----------
    trained : TrainedModel
        The network: it predicts from arrays, too, and is what `manyhands.load_model` returns.
    """

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__()
        self.trained = trained

    def _transform(self, dataset: DataFrame) -> DataFrame:
        name = self.getFeaturesCol()
        check_columns(dataset, [name])
        column: Any = functions.col(name)
        if isinstance(dataset.schema[name].dataType, VectorUDT):
            column = vector_to_array(column)
        content = dataset.sparkSession.sparkContext.broadcast(_content(self.trained))

        def probabilities(batches: Iterator[Any]) -> Iterator[Any]:
            import pandas as pd

            model = _model(content.value)
            for batch in batches:
                rows = [np.frombuffer(each, np.uint8) if isinstance(each, bytes) else each for each in batch]
                found = model.predict_proba(np.stack(rows)) if rows else np.zeros((0, len(model.classes)))
                yield pd.Series(list(found.astype(np.float64)))

        classes = self.trained.classes
        words = classes.dtype.kind == "U"
        listed = functions.array(*(functions.lit(str(each) if words else float(each)) for each in classes))
        found = "manyhands_probabilities"
        score = functions.pandas_udf(probabilities, ArrayType(DoubleType()), functions.PandasUDFType.SCALAR_ITER)
        best = functions.expr(f"array_position({found}, array_max({found}))").cast("int")
        scored = dataset.withColumn(found, score(column))
        label = functions.element_at(listed, best).cast(StringType() if words else DoubleType())
        return (
            scored.withColumn(self.getPredictionCol(), label)
            .withColumn(self.getProbabilityCol(), array_to_vector(functions.col(found)))
            .drop(found)
        )

    def to_sklearn(self) -> Any:
        """Return the network as scikit-learn's own ``MLPClassifier``, fitted.

        Raises
        ------
        SettingsError
            If scikit-learn has no such network.
        """
        return network_to_sklearn(self.trained)

    def save_safetensors(self, path: str | Path) -> None:
        """Write the network to a file of this machine, as `manyhands train --out` does."""
        self.trained.save(path)

    def write(self) -> MLWriter:
        """Return the writer that ``save`` uses: parameters as JSON, the network as a safetensors file in Parquet."""
        return _Writer(self)

    @classmethod
    def read(cls) -> MLReader[Any]:
        """Return the reader that ``load`` uses."""
        return _Reader(cls)


class _Writer(MLWriter):
    def __init__(self, model: MLPClassifierModel) -> None:
        super().__init__()
        self._model = model

    def saveImpl(self, path: str) -> None:  # noqa: N802 - Spark's name
        DefaultParamsWriter.saveMetadata(self._model, path, self.sparkSession)
        content = [(_FILE, bytearray(_content(self._model.trained)))]
        frame = self.sparkSession.createDataFrame(content, "name string, content binary")
        frame.coalesce(1).write.parquet(f"{path}/network")


class _Reader(MLReader[Any]):
    def __init__(self, kind: type[MLPClassifierModel]) -> None:
        super().__init__()
        self._kind = kind

    def load(self, path: str) -> MLPClassifierModel:
        metadata = DefaultParamsReader.loadMetadata(path, self.sparkSession)
        content = self.sparkSession.read.parquet(f"{path}/network").first()
        assert content is not None
        model = self._kind(_model(bytes(content["content"])))
        model._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(model, metadata)
        return model


def _content(model: TrainedModel) -> bytes:
    """Return a model file's bytes."""
    with temporary_folder() as folder:
        model.save(folder / _FILE)
        return (folder / _FILE).read_bytes()


def _model(content: bytes) -> TrainedModel:
    with temporary_folder() as folder:
        write_whole(folder / _FILE, content)
        return load_model(folder / _FILE)
