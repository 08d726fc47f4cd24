"""What rules with merges share: what becomes of the optimizer's state."""

import numpy as np

from manyhands.core.samples import Control
from manyhands.learners.mlp.learner import MLP
from manyhands.learners.mlp.settings import MLPSettings
from manyhands.strategies.base import average_state_
from manyhands.teams.launch import launch
from manyhands.training.clock import PhaseClock


def test_averaged_state_counts_the_steps_of_who_has_taken_most():
    # Moments 1, 2, 3 with weights 1, 1, 2: (1 + 2 + 6) / 4 = 2.25. A worker without rows in a step has not taken it.
    def work(team):
        learner = MLP(MLPSettings(hidden=(3,), dtype="float64"), 4, 2)
        for vector in learner.optimizer_state.values():
            vector[:] = team.rank + 1
        learner.steps_taken = (6, 9, 7)[team.rank]
        average_state_(team, learner, (1.0, 1.0, 2.0)[team.rank])
        return learner

    stop = np.zeros(1, np.int64)
    controls = [Control(stop, np.zeros(1, np.int64)) for _ in range(3)]
    for learner in launch("threads", [PhaseClock() for _ in range(3)], controls, work):
        assert learner.steps_taken == 9
        for vector in learner.optimizer_state.values():
            np.testing.assert_array_equal(vector, 2.25)
