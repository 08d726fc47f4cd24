"""Manyhands trains neural networks with many workers and proves what that cost.

>>> import manyhands
>>> result = manyhands.train("mnist", strategy="periodic:1epoch", workers=2)  # doctest: +SKIP
>>> result.accuracy, result.seconds["train"]  # doctest: +SKIP

Importing the package is cheap: numba, scikit-learn and the rest come in when something needs them.
"""

from __future__ import annotations

from manyhands.core.version import __version__

TYPE_CHECKING = False  # without importing typing for it: the command line is to listen to Ctrl-C at once
if TYPE_CHECKING:
    from typing import Any

    from manyhands.core.errors import ManyhandsError
    from manyhands.data.dataset import Dataset, Examples, make_dataset
    from manyhands.estimators import (
        BernoulliNB,
        CategoricalNB,
        DecisionTreeClassifier,
        DecisionTreeRegressor,
        GaussianNB,
        LinearDiscriminantAnalysis,
        MLPClassifier,
        MLPRegressor,
        MultinomialNB,
        QuadraticDiscriminantAnalysis,
        RandomForestClassifier,
        TorchClassifier,
        from_sklearn,
    )
    from manyhands.exporting.onnx_file import export_onnx
    from manyhands.learners.mlp.settings import MLPSettings
    from manyhands.recognition.api import recognize, recognize_pages
    from manyhands.recognition.page import Page
    from manyhands.studies.compare.results import Comparison
    from manyhands.studies.compare.run import compare
    from manyhands.studies.sweep.results import Sweep
    from manyhands.studies.sweep.run import sweep
    from manyhands.training.api import train
    from manyhands.training.loading import load_model
    from manyhands.training.model import TrainedModel
    from manyhands.training.result import TrainingResult
    from manyhands.training.spec import RunSpec


_HOMES = {
    "BernoulliNB": "manyhands.estimators",
    "CategoricalNB": "manyhands.estimators",
    "Comparison": "manyhands.studies.compare.results",
    "Dataset": "manyhands.data.dataset",
    "DecisionTreeClassifier": "manyhands.estimators",
    "DecisionTreeRegressor": "manyhands.estimators",
    "Examples": "manyhands.data.dataset",
    "GaussianNB": "manyhands.estimators",
    "LinearDiscriminantAnalysis": "manyhands.estimators",
    "MLPClassifier": "manyhands.estimators",
    "MLPRegressor": "manyhands.estimators",
    "MLPSettings": "manyhands.learners.mlp.settings",
    "ManyhandsError": "manyhands.core.errors",
    "MultinomialNB": "manyhands.estimators",
    "QuadraticDiscriminantAnalysis": "manyhands.estimators",
    "RandomForestClassifier": "manyhands.estimators",
    "TorchClassifier": "manyhands.estimators",
    "TrainedModel": "manyhands.training.model",
    "TrainingResult": "manyhands.training.result",
    "Page": "manyhands.recognition.page",
    "RunSpec": "manyhands.training.spec",
    "Sweep": "manyhands.studies.sweep.results",
    "compare": "manyhands.studies.compare.run",
    "export_onnx": "manyhands.exporting.onnx_file",
    "from_sklearn": "manyhands.estimators",
    "load_model": "manyhands.training.loading",
    "make_dataset": "manyhands.data.dataset",
    "recognize": "manyhands.recognition.api",
    "recognize_pages": "manyhands.recognition.api",
    "sweep": "manyhands.studies.sweep.run",
    "train": "manyhands.training.api",
}

__all__ = [
    "BernoulliNB",
    "CategoricalNB",
    "Comparison",
    "Dataset",
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "Examples",
    "GaussianNB",
    "LinearDiscriminantAnalysis",
    "MLPClassifier",
    "MLPRegressor",
    "MLPSettings",
    "ManyhandsError",
    "MultinomialNB",
    "Page",
    "QuadraticDiscriminantAnalysis",
    "RandomForestClassifier",
    "RunSpec",
    "Sweep",
    "TorchClassifier",
    "TrainedModel",
    "TrainingResult",
    "__version__",
    "compare",
    "export_onnx",
    "from_sklearn",
    "load_model",
    "make_dataset",
    "recognize",
    "recognize_pages",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    try:
        home = importlib.import_module(_HOMES[name])
    except AttributeError as error:  # Python would take it for the name's absence, and hide the cause
        raise ImportError(f"{_HOMES[name]}, which has {name}, cannot be imported: {error}") from error
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)
