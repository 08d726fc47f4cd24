"""Manyhands as a part of `pyspark.ml`: estimators for pipelines and cross-validation, trained inside the cluster."""

from manyhands.spark.classifier import MLPClassifier, MLPClassifierModel

__all__ = ["MLPClassifier", "MLPClassifierModel"]
