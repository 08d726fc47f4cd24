"""Fitted estimators in safetensors files: parameters, network and history as data, no code, unlike a pickle."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from manyhands.core.errors import DataError, ModelFileError, SettingsError
from manyhands.data.labels import describe_labels, read_labels
from manyhands.estimators.fitting import Optimizer
from manyhands.training.model_file import ESTIMATOR, read_file, write_file

_FACTS = (
    "n_layers_", "n_outputs_", "out_activation_", "n_features_in_", "n_iter_", "t_", "loss_", "best_loss_",
    "loss_curve_", "validation_scores_", "best_validation_score_", "n_workers_", "_no_improvement_count", "_epochs",
    "_seed", "sample_shape_",
)  # fmt: skip
"""Fitted attributes that are numbers, words or lists of them, where an estimator has them."""
_PLAIN = (type(None), bool, int, float, str)
Tensors = dict[str, NDArray[Any]]


class SavedEstimator:
    """What estimators have to live in files."""

    _places: ClassVar[tuple[str, ...]] = ("checkpoint",)
    """Parameters that belong to a place, and not to the network: no file names folders that a fit would empty."""
    _functions: ClassVar[tuple[str, ...]] = ()
    """Parameters that are code, and so in no file."""

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator as a safetensors file: parameters, network and history, no code.

        The parameter ``checkpoint``, which names a place of this machine, is left out.

        Parameters
        ----------
        path
            The file; one that is there is replaced.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If there is no network yet.
        SettingsError, DataError
            If a parameter or a label is of a type that no such file can hold, with what to do.
        OutputError
            If it cannot be written; nothing half-written is left.

        Examples
        --------
        >>> import os, tempfile
        >>> from manyhands import MLPClassifier
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = MLPClassifier((5,), max_iter=300, tol=0.01, random_state=0).fit(X, y)
        >>> path = os.path.join(tempfile.mkdtemp(), "iris.safetensors")
        >>> model.save(path)
        >>> bool((MLPClassifier.load(path).predict(X) == model.predict(X)).all())
        True
        """
        estimator: Any = self
        check_is_fitted(estimator)
        tensors: Tensors = self._network_tensors()
        description = {
            "estimator": _kind_of(type(self)),
            "parameters": json.dumps({name: _packed(name, value) for name, value in self._parameters().items()}),
            "fitted": json.dumps({name: _plain(getattr(self, name)) for name in _FACTS if hasattr(self, name)}),
        }
        if hasattr(estimator, "classes_"):
            description["classes"] = json.dumps(_described(estimator))
        if hasattr(estimator, "feature_names_in_"):
            description["names"] = json.dumps(estimator.feature_names_in_.tolist())
        if (optimizer := getattr(estimator, "_optimizer", None)) is not None:
            description["optimizer"] = json.dumps(
                {"kind": optimizer.kind, "learning_rate": optimizer.learning_rate, "doubles": optimizer.doubles}
            )
            tensors |= {f"optimizer.{name}": np.asarray(vector) for name, vector in optimizer.state.items()}
        if (best := getattr(estimator, "_best", None)) is not None:
            tensors |= {f"best.{name}": vector for name, vector in best.items()}
        write_file(path, description, tensors, ESTIMATOR)

    @classmethod
    def load(cls, path: str | Path, **parameters: Any) -> Self:
        """Return the estimator that :meth:`save` has written; it predicts the same, to the bit.

        Parameters
        ----------
        path
            The file; it is data, and is checked like data.
        **parameters
            Those that differ from the saved ones, such as ``n_workers=2``; of a `TorchClassifier`, ``module`` and
            functions, which are in no file, must be among them.

        Raises
        ------
        ModelFileError
            If the file is missing, damaged, or of another kind of estimator; says what.
        """
        description, tensors = read_file(path, ESTIMATOR)
        if (kind := str(description.get("estimator"))[:40]) != _kind_of(cls):
            raise ModelFileError(f"{path}: it has a fitted {kind}, not a {_kind_of(cls)}; use {kind}.load")
        try:
            read = json.loads(description["parameters"]).items()
            saved = {name: _unpacked(value) for name, value in read if name not in cls._places}
            missing = [name for name in cls._functions if name in saved and name not in parameters]
            if missing:
                raise SettingsError(f"{missing[0]} is code, and in no file; give it: load(path, {missing[0]}=...)")
            made: Any = cls(**{**saved, **parameters})
            made._validate_params()
            made._restore(description, tensors)
        except KeyError as error:
            raise ModelFileError(f"{path}: the file lacks {error}") from error
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ModelFileError(f"{path}: {error}") from error
        found: Self = made
        return found

    def _parameters(self) -> dict[str, Any]:
        """Return the parameters; those that are code as True, if they are given."""
        estimator: Any = self
        given = estimator.get_params(deep=False)
        kept = {name: value for name, value in given.items() if name not in (*self._functions, *self._places)}
        return {**kept, **{name: True for name in self._functions if given[name] is not None}}

    def _restore(self, description: Mapping[str, str], tensors: Tensors) -> None:
        """Set all fitted attributes."""
        estimator: Any = self
        for name, value in json.loads(description["fitted"]).items():
            if name not in _FACTS:
                raise ValueError(f"there is no attribute {name[:40]!r}")
            setattr(estimator, name, tuple(value) if name == "sample_shape_" else value)
        if "classes" in description:
            _set_classes(estimator, json.loads(description["classes"]))
        if "names" in description:
            estimator.feature_names_in_ = np.array(json.loads(description["names"]), dtype=object)
        groups: dict[str, Tensors] = {"optimizer": {}, "best": {}, "": {}}
        for name, block in tensors.items():
            group, _, rest = name.partition(".")
            groups[group if group in groups else ""][rest if group in groups else name] = block
        if "optimizer" in description:
            estimator._optimizer = Optimizer(state=groups["optimizer"], **json.loads(description["optimizer"]))
        if groups["best"]:
            estimator._best = groups["best"]
        self._restore_network(groups[""])

    def _network_tensors(self) -> Tensors:
        """Return the network."""
        raise NotImplementedError

    def _restore_network(self, tensors: Tensors) -> None:
        """Set the network."""
        raise NotImplementedError


class SavedMLP(SavedEstimator):
    """What multilayer perceptrons have to live in files."""

    coefs_: list[NDArray[Any]]
    intercepts_: list[NDArray[Any]]

    def _network_tensors(self) -> Tensors:
        weights = {f"coefs.{layer}": np.ascontiguousarray(block) for layer, block in enumerate(self.coefs_)}
        return weights | {f"intercepts.{layer}": block for layer, block in enumerate(self.intercepts_)}

    def _restore_network(self, tensors: Tensors) -> None:
        estimator: Any = self
        layers = range(len(tensors) // 2)
        self.coefs_ = [tensors[f"coefs.{layer}"] for layer in layers]
        self.intercepts_ = [tensors[f"intercepts.{layer}"] for layer in layers]
        widths = [int(estimator.n_features_in_), *(len(block) for block in self.intercepts_)]
        expected = list(itertools.pairwise(widths))
        if not layers or [block.shape for block in self.coefs_] != expected or widths[-1] != estimator.n_outputs_:
            raise ValueError("the layers do not fit together")
        if estimator.out_activation_ != estimator._out_activation or estimator.n_layers_ != len(widths):
            raise ValueError("its outputs are not those of such an estimator")


class SavedTorch(SavedEstimator):
    """What classifiers with PyTorch's modules have to live in files."""

    _functions = ("module", "loss_function", "parameter_groups")

    def _network_tensors(self) -> Tensors:
        from manyhands.learners.torch.forward import blocks_of

        estimator: Any = self
        return blocks_of(estimator.module_)

    def _restore_network(self, tensors: Tensors) -> None:
        import torch

        from manyhands.estimators.torch_fitting import module_for

        estimator: Any = self
        given = module_for(estimator.module, estimator.sample_shape_, len(estimator.classes_))
        module = copy.deepcopy(given) if isinstance(given, torch.nn.Module) else given()
        blocks = {name.removeprefix("module."): torch.from_numpy(block.copy()) for name, block in tensors.items()}
        try:
            module.load_state_dict(blocks)
        except RuntimeError as error:
            raise ValueError(f"the module is another one than that of the file ({error})") from error
        estimator.module_ = module.eval()


def _kind_of(cls: type) -> str:
    """Return the name of our class that a class is or is derived from."""
    return next(each.__name__ for each in cls.__mro__ if each.__module__.startswith("manyhands."))


def _plain(value: Any) -> Any:
    """Return numbers of NumPy as Python's."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value


def _packed(name: str, value: Any) -> Any:
    """Return a parameter for JSON, in which tuples are marked; others than plain ones are a SettingsError."""
    if isinstance(value, tuple):
        return {"tuple": [_packed(name, each) for each in value]}
    if isinstance(value, list):
        return [_packed(name, each) for each in value]
    if isinstance(value, np.ndarray):
        return _packed(name, value.tolist())
    value = _plain(value)
    if hasattr(value, "stages") or hasattr(value, "factors"):  # a strategy or schedule has the text that makes it
        value = value.name
    if type(value) not in _PLAIN:
        raise SettingsError(
            f"{name} is a {type(value).__name__}, which no file without code can hold: set it to a number or a word, "
            f"as in set_params({name}=...), or pickle the estimator"
        )
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(map(_unpacked, value["tuple"]))
    return [_unpacked(each) for each in value] if isinstance(value, list) else value


def _described(estimator: Any) -> dict[str, Any]:
    """Return classes, and how labels become indicators, for JSON."""
    try:
        found = {**describe_labels(estimator.classes_), "objects": estimator.classes_.dtype == object}
    except DataError as error:
        raise DataError(f"{error}; or pickle the estimator") from error
    binarizer = getattr(estimator, "_label_binarizer", None)
    if binarizer is None:
        return found
    return {**found, "targets": binarizer.y_type_, "sparse": bool(binarizer.sparse_input_)}


def _set_classes(estimator: Any, described: dict[str, Any]) -> None:
    """Set classes, and how labels become indicators."""
    classes = read_labels(described)
    estimator.classes_ = classes.astype(object) if described["objects"] else classes
    if "targets" in described:
        if described["targets"] not in ("binary", "multiclass", "multilabel-indicator"):
            raise ValueError("its targets are of no kind that labels can be")
        binarizer = LabelBinarizer()
        binarizer.classes_, binarizer.y_type_ = estimator.classes_, described["targets"]
        binarizer.sparse_input_ = bool(described["sparse"])
        estimator._label_binarizer = binarizer
