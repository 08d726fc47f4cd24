"""The same network in PyTorch, step by step: activations, losses, optimizers, dropout and predictions.

Both ways begin with the same weights and take the same batches; afterwards all parameters are equal. PyTorch has
neither LAMB nor LARS: for these two, its gradients go through plain NumPy renderings of the papers' formulas.
"""

from types import ModuleType

import numpy as np
import pytest

from manyhands.core.samples import Control, Order, Samples
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import ACTIVATIONS, OPTIMIZERS, MLPSettings

ROWS, FEATURES, BATCH, STEPS = 50, 7, 16, 20
DEEP = (9, 17, 5)
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
"""Absolute, of all parameters after all steps. In float32, 20 steps add up 20 roundings of numbers near 1 (6e-8 each)
and what our polynomials for exp, erf and log1p err (up to 3e-7)."""
RATES = {
    "sgd": 0.1,
    "momentum": 0.05,
    "nesterov": 0.05,
    "adam": 0.01,
    "adagrad": 0.05,
    "rmsprop": 0.005,
    "adadelta": 1.0,
    "adamax": 0.01,
    "nadam": 0.01,
    "adamw": 0.01,
    "lamb": 0.02,
    "lars": 0.5,
}
"""Such that 20 steps go far."""
UNUSUAL = {"momentum": 0.7, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 0.001, "rho": 0.75, "weight_decay": 0.05}
"""Constants so far from the usual ones that each of them shows, epsilon too."""


@pytest.fixture(scope="module")
def torch():
    """PyTorch on one thread, imported here because that takes seconds; nobody else shall wait for them."""
    import torch

    before = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # also of what optimizers keep beside vectors: NAdam's product of momenta
    yield torch
    torch.set_num_threads(before[0])
    torch.set_default_dtype(before[1])


# --- PyTorch's way ------------------------------------------------------------------------------------------------


def activation_of(torch: ModuleType, name: str):
    functional = torch.nn.functional
    return {
        "identity": lambda z: z,
        "logistic": torch.sigmoid,
        "tanh": torch.tanh,
        "relu": torch.relu,
        "leaky_relu": lambda z: functional.leaky_relu(z, 0.01),
        "elu": lambda z: functional.elu(z, 1.0),
        "selu": functional.selu,
        "gelu": lambda z: functional.gelu(z, approximate="none"),
        "silu": functional.silu,
        "softplus": lambda z: functional.softplus(z, beta=1),
        "softsign": functional.softsign,
    }[name]


def losses_of(torch: ModuleType, name: str, z, y):
    """The loss of each row, whose gradient is followed."""
    functional = torch.nn.functional
    if name == "cross_entropy":  # y: numbers of classes, or a distribution over them
        return functional.cross_entropy(z, y, reduction="none")
    loss = {
        "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
        "squared_error": lambda z, y, reduction: 0.5 * functional.mse_loss(z, y, reduction=reduction),
        "poisson": functional.poisson_nll_loss,  # exp(z) - y z
    }[name]
    return loss(z, y, reduction="none").sum(dim=1)


def answers_of(torch: ModuleType, name: str, z):
    return {
        "cross_entropy": lambda z: torch.softmax(z, dim=1),
        "binary_cross_entropy": torch.sigmoid,
        "squared_error": lambda z: z,
        "poisson": torch.exp,
    }[name](z)


def optimizer_of(torch: ModuleType, settings: MLPSettings, weights, biases, rate: float):
    """PyTorch's optimizer with our constants. Biases have neither penalty nor decay; our l2 is for a batch's sum."""
    optim, chosen = torch.optim, settings
    if chosen.optimizer == "lamb":
        return Lamb(chosen, weights, biases, rate)
    if chosen.optimizer == "lars":
        return Lars(chosen, weights, biases, rate)
    betas, kept = {"betas": (chosen.beta_1, chosen.beta_2)}, {"eps": chosen.epsilon}
    make, constants = {
        "sgd": (optim.SGD, {}),
        "momentum": (optim.SGD, {"momentum": chosen.momentum}),
        "nesterov": (optim.SGD, {"momentum": chosen.momentum, "nesterov": True}),
        "adam": (optim.Adam, {**betas, **kept}),
        "adagrad": (optim.Adagrad, kept),
        "rmsprop": (optim.RMSprop, {"alpha": chosen.rho, **kept}),
        "adadelta": (optim.Adadelta, {"rho": chosen.rho, **kept}),
        "adamax": (optim.Adamax, {**betas, **kept}),
        "nadam": (optim.NAdam, {**betas, **kept}),
        "adamw": (optim.AdamW, {**betas, **kept}),
    }[chosen.optimizer]
    decay = chosen.weight_decay if chosen.optimizer == "adamw" else chosen.l2 / BATCH
    return make(
        [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0}], lr=rate, **constants
    )


def reported(settings: MLPSettings, table: Samples, rows, loss: float) -> float:
    """What we report for a loss whose gradient is followed.

    As in scikit-learn, squared errors are averaged over the outputs, and Poisson's loss is half the deviance, 0 for
    perfect answers: it has y log y - y in addition, in which there is no parameter.
    """
    if settings.loss == "squared_error":
        return loss / table.targets.shape[1]
    if settings.loss == "poisson":
        y = table.targets[rows]
        weights = None if table.weights is None else table.weights[rows]
        return loss + np.average((y * np.log(np.where(y > 0, y, 1)) - y).sum(axis=1), weights=weights)
    return loss


def inputs_of(table: Samples, rows=slice(None)):
    """What the network sees of some rows."""
    return table.features[rows] * table.scale + table.shift


class ByLayer:
    """What LAMB and LARS have in common: a weight matrix's step depends on its norm, a bias's does not."""

    def __init__(self, settings: MLPSettings, weights, biases, rate: float):
        self.settings, self.rate, self.count = settings, rate, 0
        self.tensors = [*weights, *biases]
        self.are_weights = [True] * len(weights) + [False] * len(biases)
        self.first = [np.zeros(tuple(tensor.shape)) for tensor in self.tensors]
        self.second = [np.zeros(tuple(tensor.shape)) for tensor in self.tensors]

    def zero_grad(self):
        for tensor in self.tensors:
            tensor.grad = None

    def step(self):
        self.count += 1
        for place, (tensor, is_weight) in enumerate(zip(self.tensors, self.are_weights, strict=True)):
            w = tensor.detach().numpy()  # the tensor's own memory
            g = tensor.grad.numpy() + (self.settings.l2 / BATCH * w if is_weight else 0)
            w += self.change(place, w, g, self.settings.weight_decay if is_weight else 0.0, is_weight)


class Lamb(ByLayer):
    """You et al. 2020 (arXiv 1904.00962), algorithm 2, with phi(z) = z; biases: Adam's step (ratio 1, no decay)."""

    def change(self, place, w, g, decay, is_weight):
        m, v, chosen = self.first[place], self.second[place], self.settings
        m[:] = chosen.beta_1 * m + (1 - chosen.beta_1) * g
        v[:] = chosen.beta_2 * v + (1 - chosen.beta_2) * g**2
        corrected_m, corrected_v = m / (1 - chosen.beta_1**self.count), v / (1 - chosen.beta_2**self.count)
        update = corrected_m / (np.sqrt(corrected_v) + chosen.epsilon) + decay * w
        norms = np.linalg.norm(w), np.linalg.norm(update)
        ratio = norms[0] / norms[1] if is_weight and min(norms) > 0 else 1.0
        return -self.rate * ratio * update


class Lars(ByLayer):
    """You et al. 2017 (arXiv 1708.03888), algorithm 1, trust coefficient 0.001; biases: momentum, as ever."""

    def change(self, place, w, g, decay, is_weight):
        v, norms = self.first[place], (np.linalg.norm(w), np.linalg.norm(g))
        ratio = 0.001 * norms[0] / (norms[1] + decay * norms[0]) if is_weight and min(norms) > 0 else 1.0
        v[:] = self.settings.momentum * v - self.rate * ratio * (g + decay * w)
        return v


class Twin:
    """PyTorch's network and optimizer, with the present parameters of a learner of ours."""

    def __init__(self, torch: ModuleType, learner: MLP, rate: float):
        self.torch, self.settings, self.rate = torch, learner.settings, rate
        blocks = learner.weights()
        layers = range(len(blocks) // 2)
        self.weights = [torch.tensor(blocks[f"weights.{layer}"], requires_grad=True) for layer in layers]
        self.biases = [torch.tensor(blocks[f"biases.{layer}"], requires_grad=True) for layer in layers]
        self.optimizer = optimizer_of(torch, self.settings, self.weights, self.biases, rate)

    def logits(self, features, masks=None):
        """The last layer's sums. Neurons of hidden layers are multiplied with ``masks``, an array for each layer."""
        values = self.torch.tensor(features, dtype=self.weights[0].dtype)
        activation = activation_of(self.torch, self.settings.activation)
        for layer, (weights, biases) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = values @ weights + biases
            if layer < len(self.weights) - 1:
                values = activation(values)
                values = values if masks is None else values * self.torch.tensor(masks[layer], dtype=values.dtype)
        return values

    def loss(self, table: Samples, rows, masks=None):
        """The mean loss of some rows, weighted if the table says so."""
        wanted = table.labels.astype(np.int64) if table.targets is None else table.targets
        wanted = self.torch.tensor(wanted[rows])
        if table.targets is not None:
            wanted = wanted.to(self.weights[0].dtype)
        losses = losses_of(self.torch, self.settings.loss, self.logits(inputs_of(table, rows), masks), wanted)
        weights = np.ones(len(rows)) if table.weights is None else table.weights[rows]
        weights = self.torch.tensor(weights, dtype=losses.dtype)
        return (weights * losses).sum() / weights.sum()

    def penalty(self) -> float:
        """Our l2 / (2 B) sum W^2, which is in PyTorch's gradient by its own parameter, and in no loss."""
        return self.settings.l2 / (2 * BATCH) * sum((weights**2).sum().item() for weights in self.weights)

    def step(self, table: Samples, rows, masks=None) -> float:
        """Take a step; return what we report as its loss, from before."""
        self.optimizer.zero_grad()
        loss = self.loss(table, rows, masks)
        loss.backward()
        found = reported(self.settings, table, rows, loss.item()) + self.penalty()
        self.optimizer.step()
        return found


# --- both ways ----------------------------------------------------------------------------------------------------


def table_of(loss="cross_entropy", outputs=3, weighted=False, seed=1) -> Samples:
    """Random rows with what the loss is for: classes, yes or no, numbers, or counts.

    Rows are bytes, scaled to numbers near 1, because every other kind of number is compiled for itself.
    """
    rng = np.random.default_rng(seed)
    shape = ROWS, outputs
    targets = {
        "cross_entropy": None,
        "binary_cross_entropy": rng.integers(0, 2, shape).astype(float),
        "squared_error": rng.normal(size=shape),
        "poisson": rng.poisson(2.0, shape).astype(float),
    }[loss]
    labels = rng.integers(0, outputs, ROWS).astype(np.int32) if targets is None else np.zeros(ROWS, np.int32)
    weights = rng.uniform(0.1, 3, ROWS) if weighted else None
    features, scale = rng.integers(0, 256, (ROWS, FEATURES), np.uint8), rng.uniform(0.01, 0.02, FEATURES)
    return Samples(features, labels, scale, rng.normal(-2, 0.5, FEATURES), targets, weights)


def batches_of(steps=STEPS, seed=2):
    rng = np.random.default_rng(seed)
    return [rng.permutation(ROWS)[:BATCH] for _ in range(steps)]


def order_of(batches) -> Order:
    bounds = np.arange(len(batches) + 1, dtype=np.int64) * BATCH
    return Order(np.concatenate(batches).astype(np.int32), bounds, np.full(len(batches), BATCH, np.int32))


def control() -> Control:
    return Control(np.zeros(1, np.int64), np.zeros(1, np.int64))


def network(outputs=3, seed=5, **chosen) -> MLP:
    """A learner with a start; everything in double precision unless said otherwise."""
    settings = MLPSettings(**{"hidden": DEEP, "dtype": "float64", "optimizer": "sgd", "l2": 0.0, **chosen})
    learner = MLP(settings, FEATURES, outputs, seed=seed)
    learner.initialize(np.random.default_rng(4))
    return learner


def difference(learner: MLP, twin: Twin) -> float:
    """The largest difference between any two parameters."""
    blocks = learner.weights()
    pairs = [(blocks[f"weights.{layer}"], tensor) for layer, tensor in enumerate(twin.weights)]
    pairs += [(blocks[f"biases.{layer}"], tensor) for layer, tensor in enumerate(twin.biases)]
    return max(float(np.abs(ours - theirs.detach().numpy()).max()) for ours, theirs in pairs)


def assert_same_way(torch, learner: MLP, table: Samples, rate=None, masks_of=None) -> None:
    """Take the same steps both ways; losses, parameters and answers are equal, and the parameters went far."""
    chosen = learner.settings
    rate = RATES[chosen.optimizer] if rate is None else rate
    twin, start = Twin(torch, learner, rate), learner.parameters.copy()
    batches, expected = batches_of(), []
    for step, rows in enumerate(batches):
        if chosen.optimizer == "adam":
            # Ours adds epsilon to sqrt(v) and has the bias correction in the rate (Kingma & Ba 2015, section 2);
            # PyTorch adds it to sqrt(v / (1 - beta_2^t)). The same steps come from an epsilon corrected alike.
            corrected = chosen.epsilon / np.sqrt(1 - chosen.beta_2 ** (step + 1))
            for group in twin.optimizer.param_groups:
                group["eps"] = corrected
        expected.append(twin.step(table, rows, None if masks_of is None else masks_of(step, rows)))
    found = learner.run(table, order_of(batches), np.full(STEPS, rate), control()).losses
    tolerance = TOLERANCE[chosen.dtype]
    assert difference(learner, twin) < tolerance
    assert np.abs(learner.parameters - start).max() > 0.01
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    answers = answers_of(torch, chosen.loss, twin.logits(inputs_of(table))).detach().numpy()
    np.testing.assert_allclose(learner.outputs(table), answers, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_activations(torch, activation, dtype):
    assert_same_way(torch, network(activation=activation, dtype=dtype), table_of())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_activations_far_from_zero(torch, activation, dtype):
    # Where exponentials overflow or vanish: sums of up to some hundreds, of both signs.
    learner = network(activation=activation, dtype=dtype, hidden=(9,), weight_init="normal:30")
    table = table_of()
    answers = torch.softmax(Twin(torch, learner, 0.1).logits(inputs_of(table)), dim=1).detach().numpy()
    np.testing.assert_allclose(learner.outputs(table), answers, atol=1e-9 if dtype == "float64" else 2e-3)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("hidden", [DEEP, ()], ids=["deep", "shallow"])
@pytest.mark.parametrize("constants", [{}, UNUSUAL], ids=["usual", "unusual"])
def test_optimizers(torch, optimizer, hidden, constants):
    # The penalty is large enough to be seen; AdamW, for which PyTorch knows none, has its turn below.
    l2 = 0.0 if optimizer == "adamw" else 0.5
    learner = network(activation="tanh", optimizer=optimizer, hidden=hidden, l2=l2, **constants)
    assert_same_way(torch, learner, table_of())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_in_single_precision(torch, optimizer):
    l2 = 0.0 if optimizer == "adamw" else 0.5
    assert_same_way(torch, network(activation="tanh", optimizer=optimizer, l2=l2, dtype="float32"), table_of())


def test_decay_stands_beside_the_penalty(torch):
    # PyTorch's AdamW knows no penalty. Here it enters by the loss, so that it goes through the moments; decay does not.
    learner = network(optimizer="adamw", l2=0.5, weight_decay=0.3)
    twin, table, rate = Twin(torch, learner, RATES["adamw"]), table_of(), RATES["adamw"]
    for rows in batches_of():
        twin.optimizer.zero_grad()
        squares = sum((weights**2).sum() for weights in twin.weights)
        (twin.loss(table, rows) + 0.5 / (2 * BATCH) * squares).backward()
        twin.optimizer.step()
    learner.run(table, order_of(batches_of()), np.full(STEPS, rate), control())
    assert difference(learner, twin) < TOLERANCE["float64"]


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name not in ("momentum", "nesterov", "lars")])
def test_rates_that_change(torch, optimizer):
    # Our velocities have the rate in them (Sutskever et al. 2013), PyTorch's have not: with a constant rate that is the
    # same step, with v = -rate * buffer; after a change of the rate it is not. The others are the same either way.
    learner, table = network(activation="tanh", optimizer=optimizer), table_of()
    twin, rates = Twin(torch, learner, RATES[optimizer]), RATES[optimizer] / (1 + np.arange(STEPS))
    for step, (rows, rate) in enumerate(zip(batches_of(), rates, strict=True)):
        if optimizer == "lamb":
            twin.optimizer.rate = rate
        else:
            for group in twin.optimizer.param_groups:
                group["lr"] = rate
                if optimizer == "adam":
                    group["eps"] = 1e-8 / np.sqrt(1 - 0.999 ** (step + 1))
        twin.step(table, rows)
    learner.run(table, order_of(batches_of()), rates, control())
    assert difference(learner, twin) < TOLERANCE["float64"]


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov"])
def test_our_velocity_is_pytorchs_times_the_rate(torch, optimizer):
    learner, table = network(activation="tanh", optimizer=optimizer), table_of()
    twin = Twin(torch, learner, 0.05)
    for rows in batches_of():
        twin.step(table, rows)
    learner.run(table, order_of(batches_of()), np.full(STEPS, 0.05), control())
    velocity = learner.optimizer_state["velocity"]
    for layer, (weights, biases) in enumerate(zip(twin.weights, twin.biases, strict=True)):
        for ours, theirs in (
            (learner.layout.weights(velocity, layer), weights),
            (learner.layout.biases(velocity, layer), biases),
        ):
            buffer = twin.optimizer.state[theirs]["momentum_buffer"].numpy()
            np.testing.assert_allclose(ours, -0.05 * buffer, atol=1e-12)


@pytest.mark.parametrize(
    ("loss", "outputs"),
    [
        ("cross_entropy", 3),
        ("cross_entropy", 17),
        ("binary_cross_entropy", 1),
        ("binary_cross_entropy", 5),
        ("squared_error", 1),
        ("squared_error", 5),
        ("poisson", 1),
        ("poisson", 5),
    ],
)
@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_losses(torch, loss, outputs, weighted, dtype):
    learner = network(outputs, activation="tanh", loss=loss, l2=0.1, dtype=dtype)
    assert_same_way(torch, learner, table_of(loss, outputs, weighted), rate=0.02)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "squared_error", "poisson"])
def test_losses_without_hidden_layers(torch, loss):
    assert_same_way(torch, network(2, loss=loss, hidden=()), table_of(loss, 2, True), rate=0.02)


def test_classes_may_be_a_distribution(torch):
    # Targets of cross-entropy that are shares of each class instead of one class (Szegedy et al. 2016, section 7).
    table = table_of(weighted=True)
    shares = np.random.default_rng(6).dirichlet(np.ones(3), ROWS)
    soft = Samples(table.features, table.labels, table.scale, table.shift, shares, table.weights)
    assert_same_way(torch, network(), soft)


def test_rows_of_weight_zero_do_not_count(torch):
    table = table_of()
    weights = np.tile([0.0, 1.0], ROWS // 2)
    some = Samples(table.features, table.labels, table.scale, table.shift, None, weights)
    assert_same_way(torch, network(), some)


# --- dropout ------------------------------------------------------------------------------------------------------


def mixed(key: np.ndarray, part) -> np.ndarray:
    """splitmix64's next number (Steele et al. 2014) of a key to which something is added."""
    x = key + np.asarray(part).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def bits_of(key: np.ndarray, neurons: int) -> np.ndarray:
    """32 bits for each neuron and each key of a row: MurmurHash3's last mixing (Appleby 2008)."""
    x = (key >> np.uint64(32)).astype(np.uint32)[:, None] + np.arange(neurons, dtype=np.uint32) * np.uint32(0x9E3779B9)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def masks(seed: int, step: int, rows: np.ndarray, widths, dropout: float) -> list[np.ndarray]:
    """Who takes part, made anew from what the masks are said to be a function of: 0 or 1 / (1 - p) for each neuron."""
    found = []
    for layer, width in enumerate(widths, start=1):
        key = np.full(len(rows), seed, np.uint64)
        for part in (step, layer, rows):
            key = mixed(key, part)
        found.append((bits_of(key, width) >= round(dropout * 2**32)) / (1 - dropout))
    return found


@pytest.mark.parametrize("activation", ["relu", "logistic", "tanh", "gelu", "softplus"])
@pytest.mark.parametrize("dropout", [0.1, 0.5, 0.9])
def test_dropout(torch, activation, dropout):
    learner = network(activation=activation, dropout=dropout, seed=11)
    assert_same_way(torch, learner, table_of(), masks_of=lambda step, rows: masks(11, step, rows, DEEP, dropout))


@pytest.mark.parametrize("optimizer", ["adam", "nadam", "lamb"])
def test_dropout_with_moments(torch, optimizer):
    learner = network(activation="tanh", optimizer=optimizer, dropout=0.3)
    assert_same_way(torch, learner, table_of(), masks_of=lambda step, rows: masks(5, step, rows, DEEP, 0.3))


def test_dropout_in_single_precision(torch):
    learner = network(dropout=0.3, dtype="float32")
    assert_same_way(torch, learner, table_of(), masks_of=lambda step, rows: masks(5, step, rows, DEEP, 0.3))


def test_who_takes_part_is_as_good_as_random():
    # 512 rows x 1,000 neurons: each count is within 5 standard deviations of what chance would give. That holds for
    # rows, neurons, and for pairs of neighbours (a mask that told something about another would show there).
    kept, rows = 0.7, np.arange(512)
    first, second = (mask > 0 for mask in masks(3, 17, rows, (1000, 1000), 1 - kept))
    (later,) = (mask > 0 for mask in masks(3, 18, rows, (1000,), 1 - kept))
    (other,) = (mask > 0 for mask in masks(4, 17, rows, (1000,), 1 - kept))

    def near(counts, of, chance):
        return np.all(np.abs(counts - of * chance) < 5 * np.sqrt(of * chance * (1 - chance)))

    assert near(first.sum(axis=0), 512, kept)
    assert near(first.sum(axis=1), 1000, kept)
    for mask in (second, later, other, np.roll(first, 1, axis=0), np.roll(first, 1, axis=1)):
        assert near((first & mask).sum(), first.size, kept**2)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "squared_error", "poisson"])
@pytest.mark.parametrize("rows", [0, 1, ROWS])
def test_predictions_leave_nobody_out(torch, loss, rows):
    learner, table = network(2, loss=loss, dropout=0.5), table_of(loss, 2)
    expected = answers_of(torch, loss, Twin(torch, learner, 0.1).logits(inputs_of(table, slice(rows)))).detach().numpy()
    targets = None if table.targets is None else table.targets[:rows]
    few = Samples(table.features[:rows], table.labels[:rows], table.scale, table.shift, targets)
    np.testing.assert_allclose(learner.outputs(few), expected, atol=1e-12)
