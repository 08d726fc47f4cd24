"""Two learners that are not the MLP: one that has the least the contract asks for, and one with buffers."""

import numpy as np

from manyhands.core.errors import DivergedError, SettingsError
from manyhands.core.learner import Learner, RunOutcome


class Softmax(Learner):
    """Softmax regression by plain gradient steps; it declares no capability and knows nothing of rounds."""

    def __init__(self, settings, features, classes, *, rank=0, seed=0):
        self.rank, self.classes, self.dtype = rank, classes, np.dtype(settings.dtype)
        self._shape = (features + 1, classes)
        self.size, self.steps_taken = (features + 1) * classes, 0
        self.buffers = np.zeros(0, self.dtype)
        self.bind(np.zeros(self.size, self.dtype))

    def bind(self, vector):
        self.parameters = vector

    def initialize(self, rng):
        self.parameters[:] = 0.1 * rng.standard_normal(self.size)
        self.steps_taken = 0

    def prepare(self, table):
        pass

    def run(self, table, order, rates, control):
        gradient, losses = np.zeros_like(self.parameters), []
        for step, rate in enumerate(rates):
            if control.stop[0]:
                break
            one = order.part(step, step + 1)
            losses.append(self.gradient(table, one, gradient) + self.apply(gradient, rate, int(one.global_rows[0])))
            control.progress[0] += 1
            if not np.isfinite(losses[-1]):
                raise DivergedError(int(control.progress[0]), self.rank, losses[-1])
        return RunOutcome(np.array(losses))

    def gradient(self, table, order, out):
        out[:] = 0
        if not order.examples:
            return 0.0
        rows = table.take(order.rows[order.bounds[0] : order.bounds[-1]])
        inputs, wanted = self._inputs(rows), (np.arange(rows.rows), rows.labels)
        chances = self.predict_proba(rows).astype(np.float64)
        loss = -np.log(chances[wanted]).mean()
        chances[wanted] -= 1
        out[:] = (inputs.T @ chances / rows.rows).ravel()
        return float(loss)

    def apply(self, gradient, rate, global_rows, workers=1):
        self.parameters -= (rate * gradient).astype(self.dtype)
        self.steps_taken += 1
        return 0.0

    def predict_proba(self, table):
        logits = self._inputs(table) @ self.parameters.reshape(self._shape)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (powers / powers.sum(axis=1, keepdims=True)).astype(self.dtype)

    def outputs(self, table):
        return self.predict_proba(table)

    def side_by_side(self, members):
        raise SettingsError("a softmax regression of several is none")

    def weights(self):
        return {"weights": self.parameters.copy()}

    def load_weights(self, blocks):
        self.parameters[:] = blocks["weights"]

    def state(self):
        return {
            "parameters": self.parameters.copy(),
            "buffers": self.buffers.copy(),
            "steps_taken": np.array([self.steps_taken]),
        }

    def load_state(self, state):
        self.parameters[:], self.buffers[:] = state["parameters"], state["buffers"]
        self.steps_taken = int(state["steps_taken"][0])

    def _inputs(self, table):
        return np.column_stack([table.inputs(), np.ones(table.rows)])


class Moments(Softmax):
    """Keeps running means and variances of its inputs, and what these were at the start and before rounds."""

    def __init__(self, settings, features, classes, *, rank=0, seed=0):
        super().__init__(settings, features, classes, rank=rank, seed=seed)
        self.buffers = np.concatenate([np.zeros(features), np.ones(features)]).astype(self.dtype)
        self.at_start, self.before_round = None, self.buffers.copy()

    def initialize(self, rng):
        super().initialize(rng)
        self.buffers[:] = rng.random(len(self.buffers))

    def gradient(self, table, order, out):
        if self.at_start is None:
            self.at_start = self.buffers.copy()
        loss = super().gradient(table, order, out)
        if order.examples:
            inputs = table.take(order.rows[order.bounds[0] : order.bounds[-1]]).inputs()
            self.buffers += (0.1 * (np.concatenate([inputs.mean(0), inputs.var(0)]) - self.buffers)).astype(self.dtype)
        self.before_round[:] = self.buffers
        return loss

    def weights(self):
        return {**super().weights(), "buffers": self.buffers.copy()}

    def load_weights(self, blocks):
        super().load_weights(blocks)
        self.buffers[:] = blocks["buffers"]
