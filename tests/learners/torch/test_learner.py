"""PyTorch modules as learners: torch.optim's steps on flat vectors, and nothing of the module lost."""

import copy
import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from manyhands.core.errors import DivergedError, SettingsError  # noqa: E402
from manyhands.core.randomness import generator  # noqa: E402
from manyhands.core.samples import Control, Order, Samples  # noqa: E402
from manyhands.learners.torch.learner import TorchLearner  # noqa: E402
from manyhands.learners.torch.optimizers import OPTIMIZERS, TorchOptimizer  # noqa: E402
from manyhands.learners.torch.settings import TorchSettings  # noqa: E402

spec = importlib.util.spec_from_file_location("modules", Path(__file__).parent / "modules.py")
modules = importlib.util.module_from_spec(spec)
spec.loader.exec_module(modules)

FLOAT32 = TorchSettings(precision="float32")
REFERENCE = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.01),
    "momentum": lambda parameters: torch.optim.SGD(parameters, 0.01, momentum=0.9),
    "nesterov": lambda parameters: torch.optim.SGD(parameters, 0.01, momentum=0.9, nesterov=True),
    "adam": lambda parameters: torch.optim.Adam(parameters, 0.01),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, 0.01, weight_decay=0.0),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, 0.01),
    "adagrad": lambda parameters: torch.optim.Adagrad(parameters, 0.01, eps=1e-8),
    "adadelta": lambda parameters: torch.optim.Adadelta(parameters, 0.01, rho=0.99, eps=1e-8),
    "adamax": lambda parameters: torch.optim.Adamax(parameters, 0.01),
}


def samples(rows=60, shape=(7,), **others):
    rng = np.random.default_rng(5)
    features = int(np.prod(shape))
    labels = np.arange(rows, dtype=np.int32) % 3
    stored = rng.integers(0, 200, (rows, features), dtype=np.uint8) + 20 * labels[:, None].astype(np.uint8)
    return Samples(stored, labels, np.full(features, 1 / 255), np.zeros(features), sample_shape=shape, **others)


def order(rows=60, batch=20):
    bounds = np.append(np.arange(0, rows, batch), rows)
    return Order(np.arange(rows, dtype=np.int32), bounds, np.diff(bounds).astype(np.int32))


def control():
    return Control(np.zeros(1, np.int64), np.zeros(1, np.int64))


def trained(learner, table=None, steps=3, rate=0.01, **cut):
    table = samples() if table is None else table
    return learner.run(table, order(table.rows, table.rows // steps, **cut), np.full(steps, rate), control()).losses


def inputs_of(table):
    return torch.from_numpy(table.inputs().astype(np.float32)).view(table.rows, *table.sample_shape)


class TestSteps:
    @pytest.mark.parametrize("name", REFERENCE)
    @pytest.mark.parametrize(("make", "shape"), [(modules.plain, (7,)), (modules.images, (3, 8, 8))])
    def test_they_are_those_of_torch_optim(self, name, make, shape):
        table, torch_state = samples(shape=shape), torch.get_rng_state()
        learner = TorchLearner(make, TorchOptimizer(name), settings=FLOAT32)
        learner.initialize(np.random.default_rng(1))
        reference = copy.deepcopy(learner.module)
        for each in reference.parameters():
            each.grad = None
        optimizer, losses = REFERENCE[name](reference.parameters()), []
        for rows in np.split(np.arange(60), 3):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(
                reference(inputs_of(table)[rows]), torch.from_numpy(table.labels[rows].astype(np.int64))
            )
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        np.testing.assert_allclose(trained(learner, table), losses, rtol=1e-5)
        for name, block in reference.state_dict().items():
            np.testing.assert_allclose(learner.weights()[f"module.{name}"], block.numpy(), rtol=2e-4, atol=2e-5)
        assert (torch.get_rng_state() == torch_state).all()

    def test_all_optimizers_are_compared(self):
        assert set(OPTIMIZERS) == {*REFERENCE, "muon"}

    def test_muon_trains_hidden_matrices_and_adamw_the_rest(self):
        learner = TorchLearner(modules.plain, TorchOptimizer("muon", weight_decay=0.0), settings=FLOAT32)
        learner.initialize(np.random.default_rng(1))
        reference = copy.deepcopy(learner.module)
        hidden, *others = [reference[0].weight, reference[0].bias, *reference[2].parameters()]
        optimizers = [
            torch.optim.Muon([hidden], 0.01, weight_decay=0.0, momentum=0.9, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, 0.01, weight_decay=0.0),
        ]
        table = samples()
        for rows in np.split(np.arange(60), 3):
            reference.zero_grad()
            labels = torch.from_numpy(table.labels[rows].astype(np.int64))
            nn.functional.cross_entropy(reference(inputs_of(table)[rows]), labels).backward()
            for each in optimizers:
                each.step()
        trained(learner, table)
        for name, block in reference.state_dict().items():
            np.testing.assert_allclose(learner.weights()[f"module.{name}"], block.numpy(), rtol=1e-3, atol=1e-4)

    def test_a_gradient_and_its_application_are_a_step(self):
        together, apart = (TorchLearner(modules.plain, settings=FLOAT32) for _ in range(2))
        table, out = samples(), np.zeros(together.size, np.float32)
        trained(together, table)
        for step in range(3):
            apart.gradient(table, order().part(step, step + 1), out)
            apart.apply(out, 0.01, 20)
        assert together.parameters.tobytes() == apart.parameters.tobytes()

    def test_groups_have_rates_and_decay_of_their_own(self):
        def groups(module):
            return [
                {"params": module[2].parameters(), "lr": 0.0},
                {"params": module[0].parameters(), "weight_decay": 0.5},
            ]

        learner = TorchLearner(modules.plain, TorchOptimizer("sgd", 0.01, groups=groups), settings=FLOAT32)
        before, reference = learner.weights(), copy.deepcopy(learner.module)
        optimizer = torch.optim.SGD(reference[0].parameters(), 0.01, weight_decay=0.5)
        nn.functional.cross_entropy(reference(inputs_of(samples())), torch.arange(60) % 3).backward()
        optimizer.step()
        trained(learner, steps=1)
        after = learner.weights()
        assert (after["module.2.weight"] == before["module.2.weight"]).all()
        np.testing.assert_allclose(after["module.0.weight"], reference[0].weight.detach().numpy(), rtol=1e-5)

    def test_gradients_are_clipped(self):
        learners = [
            TorchLearner(modules.plain, "sgd", settings=TorchSettings(clip=clip, precision="float32"))
            for clip in (None, 1e-3)
        ]
        for each in learners:
            start = each.parameters.copy()
            trained(each, steps=1, rate=1.0)
            each.moved = float(np.linalg.norm(each.parameters - start))
        assert learners[0].moved > 2e-3
        assert learners[1].moved == pytest.approx(1e-3, rel=1e-3)

    def test_weights_of_samples_count(self):
        learner = TorchLearner(modules.plain, settings=FLOAT32)
        weights, out = np.zeros(60), np.zeros(learner.size, np.float32)
        weights[:20] = 2.0
        whole = learner.gradient(samples(weights=weights), order(batch=60), out)
        first = out.copy()
        assert whole == pytest.approx(learner.gradient(samples(), order().part(0, 1), out), rel=1e-6)
        np.testing.assert_allclose(first, out, atol=1e-7)

    def test_no_rows_have_no_gradient(self):
        learner = TorchLearner(modules.plain, settings=FLOAT32)
        nothing = Order(np.zeros(0, np.int32), np.zeros(2, np.int64), np.ones(1, np.int32))
        out = np.ones(learner.size, np.float32)
        assert learner.gradient(samples(), nothing, out) == 0
        assert not out.any()

    def test_divergence_is_found(self):
        learner = TorchLearner(modules.plain, "sgd", lambda outputs, _: outputs.mean() / 0.0, settings=FLOAT32)
        with pytest.raises(DivergedError, match="step 1"):
            trained(learner)


class TestVectors:
    def test_the_modules_tensors_are_views_and_tied_ones_stand_once(self):
        learner = TorchLearner(modules.Everything, settings=FLOAT32)
        module, before = learner.module, learner.weights()
        assert module.again.weight is module.middle.weight
        numbers = sum(each.numel() for each in module.parameters())
        assert numbers <= learner.size < numbers + 16 * len(list(module.parameters()))
        learner.parameters += 1
        for name, each in module.named_parameters():
            np.testing.assert_array_equal(each.detach().numpy(), before[f"module.{name}"] + 1)
        other = np.zeros(learner.size, np.float32)
        learner.bind(other)
        trained(learner)
        assert module.again.weight is module.middle.weight
        assert other.any()
        assert np.shares_memory(module.last.bias.detach().numpy(), other)

    def test_buffers_that_are_averaged_and_others(self):
        learner = TorchLearner(modules.Everything, settings=FLOAT32)
        trained(learner)
        np.testing.assert_array_equal(learner.buffers[:16], learner.module.norm.running_mean.numpy())
        assert int(learner.state()["other.norm.num_batches_tracked"]) == 3
        learner.buffers[:] = 0.5
        assert (learner.module.norm.running_var == 0.5).all()

    def test_what_is_frozen_stays(self):
        learner = TorchLearner(modules.Frozen, settings=FLOAT32)
        before = learner.weights()
        trained(learner)
        after = learner.weights()
        assert {name for name in before if (before[name] != after[name]).any()} == {
            "module.last.weight",
            "module.last.bias",
        }
        assert after["module.constant"].dtype == np.float64

    @pytest.mark.parametrize("name", [*OPTIMIZERS])
    def test_a_state_goes_on_bit_for_bit(self, name):
        learner, other = (TorchLearner(modules.Everything, name, settings=FLOAT32) for _ in range(2))
        trained(learner)
        other.load_state(learner.state())
        trained(learner)
        trained(other)
        assert {key: each.tobytes() for key, each in learner.state().items()} == {
            key: each.tobytes() for key, each in other.state().items()
        }

    def test_weights_come_back_into_another_module_only_if_they_fit(self):
        learner, other = (TorchLearner(modules.images, settings=FLOAT32, seed=seed) for seed in (0, 1))
        trained(learner, samples(shape=(3, 8, 8)))
        other.load_weights(learner.weights())
        table = samples(shape=(3, 8, 8))
        assert (other.predict_proba(table) == learner.predict_proba(table)).all()
        with pytest.raises(ValueError, match=r"module\.0\.weight"):
            other.load_weights({**learner.weights(), "module.0.weight": np.zeros((4, 3, 3, 4), np.float32)})
        with pytest.raises(ValueError, match="more"):
            other.load_weights({**learner.weights(), "more": np.zeros(1)})

    def test_an_ensemble_has_the_mean_of_the_logits(self):
        learner, table = TorchLearner(modules.plain, settings=FLOAT32), samples()
        members = np.stack([learner.parameters, 2 * learner.parameters])
        logits = []
        for vector in members:
            learner.parameters[:] = vector
            logits.append(np.log(learner.predict_proba(table)))
        wide = learner.side_by_side(members).predict_proba(table)
        expected = torch.from_numpy(np.mean(logits, axis=0)).softmax(1).numpy()
        np.testing.assert_allclose(wide, expected, rtol=1e-5)


class TestStarts:
    def test_a_module_starts_as_it_is_and_stays_so(self):
        module = modules.plain()
        before = copy.deepcopy(module.state_dict())
        learner = TorchLearner(module, settings=FLOAT32)
        trained(learner)
        learner.initialize(np.random.default_rng(3))
        assert not learner.random_start
        for name, block in before.items():
            assert (learner.weights()[f"module.{name}"] == block.numpy()).all()
            assert (module.state_dict()[name] == block).all()

    def test_a_function_starts_at_random(self):
        learner = TorchLearner(modules.Everything, settings=FLOAT32)
        starts = []
        for seed in (1, 1, 2):
            learner.initialize(generator(seed, "init"))
            starts.append(learner.parameters.tobytes())
            trained(learner)
        assert starts[0] == starts[1] != starts[2]


class TestDraws:
    def test_dropout_is_that_of_seed_and_rank_whatever_else_is_drawn(self):
        found = {}
        for seed, rank in ((1, 0), (1, 0), (1, 1), (2, 0)):
            learner = TorchLearner(modules.Everything, settings=FLOAT32, seed=seed, rank=rank)
            learner.initialize(np.random.default_rng(0))
            torch.rand(7)
            trained(learner)
            found.setdefault((seed, rank), set()).add(learner.parameters.tobytes())
        assert [len(each) for each in found.values()] == [1, 1, 1]
        assert len(set.union(*found.values())) == 3

    def test_evaluation_draws_nothing(self):
        learner, table = TorchLearner(modules.Everything, settings=FLOAT32), samples()
        assert (learner.predict_proba(table) == learner.predict_proba(table)).all()


class _Tuple(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(7, 3)

    def forward(self, inputs):
        return (self.layer(inputs),)


class _Apart(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(7, 3)

    def forward(self, inputs):
        return torch.zeros(len(inputs), 3)


class TestRefused:
    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda: nn.Sequential(nn.LazyLinear(3)), "no shape yet"),
            (lambda: nn.Linear(7, 3).double(), "float64"),
            (lambda: nn.Linear(7, 3, dtype=torch.complex64), "complex64"),
            (lambda: nn.Linear(7, 3).requires_grad_(False), "no parameter"),
            (lambda: "no module", "returned str"),
        ],
    )
    def test_when_it_is_made(self, make, words):
        with pytest.raises(SettingsError, match=words):
            TorchLearner(make)

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (_Tuple, "returns tuple"),
            (_Apart, "no trained parameter"),
            (lambda: nn.Linear(7, 2), "3 classes"),
            (lambda: nn.Linear(8, 3), r"batch of shape \(2, 7\)"),
        ],
    )
    def test_when_it_is_tried(self, make, words):
        learner = TorchLearner(make, settings=FLOAT32)
        with pytest.raises(SettingsError, match=words):
            learner.prepare(samples())

    def test_trying_changes_nothing(self):
        learner = TorchLearner(modules.Everything, settings=FLOAT32)
        before = {name: each.tobytes() for name, each in learner.state().items()}
        learner.prepare(samples())
        assert before == {name: each.tobytes() for name, each in learner.state().items()}

    def test_optimizers_and_groups(self):
        with pytest.raises(SettingsError, match="lars"):
            TorchLearner(modules.plain, "lars")
        for groups, words in (
            (lambda module: [{"params": module[0].parameters()}], "2.weight is in 0"),
            (lambda module: [{"params": module.parameters(), "betas": (0, 0)}], "betas"),
        ):
            with pytest.raises(SettingsError, match=words):
                TorchLearner(modules.plain, TorchOptimizer("sgd", groups=groups))

    def test_a_loss_by_another_name(self):
        with pytest.raises(SettingsError, match="hinge"):
            TorchLearner(modules.plain, loss="hinge")
