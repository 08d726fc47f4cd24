"""What the docstrings of the estimators have in common, written once."""

from __future__ import annotations

import inspect
import re
from typing import TypeVar

Class = TypeVar("Class", bound=type)

_PLACE = re.compile(r"\{(?P<section>parameters|attributes|notes|workers|fitted|bits)(?:: (?P<names>[^}]+))?\}")
_SECTIONS = {
    "parameters": """
hidden_layer_sizes : array-like of shape (n_layers - 2,), default=(100,)
    Number of neurons of each hidden layer.
activation : str, default="relu"
    Of the hidden neurons: ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"``, ``"elu"``,
    ``"selu"``, ``"gelu"``, ``"silu"``, ``"softplus"`` or ``"softsign"``.
solver : str, default="adam"
    ``"adam"``; ``"sgd"``, with ``momentum`` and ``nesterovs_momentum``; ``"momentum"``, ``"nesterov"``,
    ``"adagrad"``, ``"rmsprop"``, ``"adadelta"``, ``"adamax"``, ``"nadam"``, ``"adamw"``, ``"lamb"`` or ``"lars"``;
    or ``"lbfgs"``, which is scikit-learn's own and has one worker.
alpha : float, default=0.0001
    Strength of the L2 penalty, which is divided by the batch when added to the loss.
batch_size : int, default="auto"
    Rows of a step, of all workers together: the global batch. ``"auto"`` is ``min(200, n_samples)``.
learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
    How the rate changes, for ``solver="sgd"`` (``"momentum"``, ``"nesterov"``): not at all; after every epoch to
    ``learning_rate_init / (t + 1)**power_t``, t the rows seen; or divided by 5 whenever training would have
    stopped, until it is below 1e-6.
learning_rate_init : float, default=0.001
    The step size. Not every solver is at its best with this default.
power_t : float, default=0.5
    Exponent of ``"invscaling"``.
max_iter : int, default=200
    Epochs at most.
shuffle : bool, default=True
    Whether rows are shuffled in every epoch.
random_state : int, RandomState instance or None, default=None
    Of everything random. With an int, the same ``n_workers`` and the same ``team``, all results have the same bits
    (unless the strategy is hogwild or easgd).
tol : float, default=1e-4
    By how much loss or validation score must improve.
verbose : bool, default=False
    Whether to print the loss of each epoch, and that kernels are compiled, which only the first fit does, and how long
    that took. The logger ``manyhands`` says the latter, too.
warm_start : bool, default=False
    Whether ``fit`` goes on with the network of the last call.
momentum : float, default=0.9
    Of ``solver="sgd"``, ``"momentum"``, ``"nesterov"`` and ``"lars"``; below 1.
nesterovs_momentum : bool, default=True
    Whether ``solver="sgd"`` uses Nesterov's momentum.
early_stopping : bool, default=False
    Whether to set rows aside, to end when the score on them does not improve, and to keep the best network. Not
    for strategies whose workers are never alike at the end of an epoch.
validation_fraction : float, default=0.1
    How many of the rows.
beta_1, beta_2 : float, default=0.9 and 0.999
    Decay rates of Adam's and its relatives' moments.
epsilon : float, default=1e-8
    Keeps quotients of the adaptive solvers finite; adadelta and lamb are usually given 1e-6.
n_iter_no_change : int, default=10
    Epochs without improvement after which training ends.
max_fun : int, default=15000
    Of ``solver="lbfgs"``: calls of the loss at most.
n_workers : int or "all", default=None
    Workers that train together: None for one (in an MPI job: all of its processes), -1 or ``"all"`` for one on each
    usable core. Fewer are used, with a warning, if a batch has fewer rows; and inside a worker of joblib only as many
    as it may have threads, so that ``GridSearchCV(n_jobs=2)`` keeps two cores busy and not four.
strategy : str or Strategy, default="auto"
    When workers talk, such as ``"gradient"``, ``"periodic:1epoch"`` or ``"one-shot"``. ``"auto"``: threads average
    gradients in every step, which gives the result of one worker up to rounding; processes average the network
    after every epoch. Batch, rate and schedule stay yours with any strategy.
team : {"threads", "mpi", "torch"}, default="threads"
    How they talk. With ``"mpi"``, in a program started by mpiexec, or ``"torch"`` and torchrun, every process calls
    ``fit`` with the same arguments and gets the same network; if one has other arguments, or fails, all raise an error.
data : {"whole", "sharded"}, default="whole"
    What each process gives to ``fit`` with ``team="mpi"``: the same rows as all others, or rows of its own. With
    ``"sharded"`` all get the network of one fit on the rows of all processes, one after the other in the order of
    their ranks; a class need not be in every shard. Where one process trains, its rows are the only shard.
sharding : {"global", "fixed"}, default=None
    Whether workers share every batch or keep a part of the rows each; by default as the strategy says.
dtype : {"float32", "float64"}, default="float32"
    What training computes in, whatever the rows are; float64 all the same where float32 would lose what tells
    them apart, as of time stamps.
dropout : float, default=0.0
    The chance of a hidden neuron to be left out of a step.
weight_init, bias_init : str, default="auto"
    How weights and biases start, such as ``"he_normal"``; ``"auto"`` is scikit-learn's way.
weight_decay : float, default=None
    Decoupled decay of adamw, lamb and lars; by default the solver's own.
rho : float, default=None
    How much rmsprop and adadelta keep of their mean squares; by default the solver's own.
checkpoint : str, path or mapping, default=None
    A folder into which ``fit`` writes checkpoints now and then. If the same fit, with an int as ``random_state``, finds
    some there, it goes on from the newest, bit for bit; those of another fit are refused. They are removed when the fit
    has ended, and stay after Ctrl-C or an error. A mapping says more: ``{"folder": "here", "every": "5epochs", "keep":
    3, "checkpoint_cost": 0.01}``; ``every`` (``"30s"``) may also be ``"100rounds"``, and ``checkpoint_cost`` is the
    largest part of the training time that checkpoints may cost. ``partial_fit``, which is one epoch, has none.
""",
    "attributes": """
coefs_, intercepts_ : list of ndarray
    Weights of shape (in, out) and biases of shape (out,) of each layer, in the dtype of the rows. They may be
    changed: predictions and further training use them as they are.
loss_ : float
    Of the last epoch, penalty included.
loss_curve_ : list of float
    Of every epoch.
best_loss_ : float or None
    The lowest of them; None with early stopping.
validation_scores_ : list of float or None
    With early stopping, the score after every epoch at whose end the workers were alike.
best_validation_score_ : float or None
    The highest of them.
n_iter_ : int
    Epochs of the last call.
t_ : int
    Rows seen.
n_layers_, n_outputs_ : int
    Of the network; the inputs count as a layer.
out_activation_ : str
    Of the outputs.
n_features_in_ : int
    Number of features.
feature_names_in_ : ndarray of shape (n_features,)
    Their names, if all are strings.
n_workers_ : int
    Workers that have trained.
""",
    "notes": """
Ctrl-C ends the training and keeps the network: with one worker as it is, with several as it was after the last
epoch at whose end they were alike.
""",
    "workers": """
n_workers : int or "all", default=None
    Workers that go over the rows: None for one (in an MPI job: all of its processes), -1 or ``"all"`` for one on each
    usable core. Fewer are used, with a warning, if there are fewer rows; and inside a worker of joblib only as many as
    it may have threads.
team : {"threads", "mpi", "torch"}, default="threads"
    How they talk. With ``"mpi"``, in a program started by mpiexec, or ``"torch"`` and torchrun, every process calls
    ``fit`` with the same arguments and gets the same model; if one has other arguments, or fails, all raise an error.
""",
    "fitted": """
n_features_in_ : int
    Number of features.
feature_names_in_ : ndarray of shape (n_features,)
    Their names, if all are strings.
n_workers_ : int
    Workers that have gone over the rows.
""",
    "bits": """
The sums are exact, so the model has the same bits for any number of workers.
""",
}


def with_shared_sections(estimator: Class) -> Class:
    """Fill the places of a docstring: ``{parameters}`` is all of a section, ``{parameters: tol}`` a part of it."""
    text = inspect.getdoc(estimator) or ""
    estimator.__doc__ = _PLACE.sub(_filling, text)
    return estimator


def _filling(place: re.Match[str]) -> str:
    """Return what comes to a place."""
    section = _SECTIONS[place["section"]].strip()
    if place["names"] is None:
        return section
    entries = {each.partition(" : ")[0]: each for each in re.split(r"\n(?=\S)", section)}
    return "\n".join(entries[name] for name in place["names"].split(", "))
