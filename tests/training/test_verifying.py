"""Parameters that all workers hold alike, and what is said if they do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import manyhands
from manyhands.core.errors import CorruptedError, DivergedError, SettingsError
from manyhands.training import faults
from manyhands.training.verifying import check_finite, fingerprint

RUN = {"workers": 3, "epochs": 3, "hidden": (12,), "batch": 100}
VECTORS = st.sampled_from(["f4", "f8"]).flatmap(lambda dtype: arrays(np.dtype(dtype), st.integers(1, 40)))
pytestmark = pytest.mark.filterwarnings("ignore::manyhands.core.errors.TrainingWarning")


@given(vector=VECTORS, data=st.data())
def test_every_flipped_bit_changes_the_fingerprint(vector, data):
    before = fingerprint(vector)
    bit = data.draw(st.integers(0, 8 * vector.nbytes - 1))
    vector.view(np.uint8)[bit // 8] ^= 1 << bit % 8
    assert fingerprint(vector) != before
    vector.view(np.uint8)[bit // 8] ^= 1 << bit % 8
    assert fingerprint(vector) == before


@given(vector=VECTORS.filter(lambda vector: len(vector) > 1), data=st.data())
def test_any_two_flipped_bits_change_the_fingerprint(vector, data):
    # The highest bit of a word is the sign of a number, and changes by 2**63: two of these are 0 modulo 2**64.
    bits = st.one_of(
        st.integers(0, 8 * vector.nbytes - 1), st.integers(1, vector.nbytes // 8).map(lambda n: 64 * n - 1)
    )
    before = fingerprint(vector)
    for bit in data.draw(st.lists(bits, min_size=2, max_size=2, unique=True)):
        vector.view(np.uint8)[bit // 8] ^= 1 << bit % 8
    assert fingerprint(vector) != before


@given(vector=arrays(np.float32, st.integers(2, 40), unique=True))
def test_the_order_counts(vector):
    assert fingerprint(vector[::-1].copy()) != fingerprint(vector)


def test_what_is_no_number_is_named():
    class Alone:
        rank, size = 0, 1

        def sum_(self, vector):
            pass

    check_finite(Alone(), np.ones(3), 1, "gradients")
    with pytest.raises(CorruptedError, match=r"round 7: worker 0 brought gradients that are not finite"):
        check_finite(Alone(), np.array([1, np.inf]), 7, "gradients")


@pytest.mark.parametrize("strategy", ["gradient", "periodic:4", "slowmo:5,beta=0.5", "one-shot:merge=ensemble"])
def test_it_changes_nothing(digits, strategy):
    found = manyhands.train(digits, **RUN, strategy=strategy, verify=True)
    usual = manyhands.train(digits, **RUN, strategy=strategy)
    assert found.model.learner.parameters.tobytes() == usual.model.learner.parameters.tobytes()
    assert found.bytes_sent > usual.bytes_sent


@pytest.mark.parametrize("rank", [0, 2])
def test_a_flipped_bit_names_worker_and_round(digits, happens, rank):
    happens(f"flip({rank},11)")
    words = rf"round 12: worker {rank} held other parameters than the others afterwards"
    with pytest.raises(CorruptedError, match=words):
        manyhands.train(digits, **RUN, strategy="gradient", verify=True)


def test_of_two_workers_nobody_knows_which(digits, happens):
    happens("flip(1,11)")
    with pytest.raises(CorruptedError, match="the 2 workers held 2 different vectors"):
        manyhands.train(digits, **{**RUN, "workers": 2}, strategy="gradient", verify=True)


def test_without_it_a_flipped_bit_is_not_noticed(digits, happens):
    happens("flip(1,11)")
    manyhands.train(digits, **RUN, strategy="gradient")


def test_a_parameter_that_is_no_number_ends_the_run(digits, happens):
    happens("nan(1,10)")
    with pytest.raises(DivergedError, match="worker 1"):
        manyhands.train(digits, **RUN, strategy="periodic:4")


def test_before_a_round_it_is_found_by_its_round(digits, happens):
    """At the last step before a round no loss shows it any more."""
    happens("nan(2,12)")
    with pytest.raises(CorruptedError, match="round 3: worker 2 brought parameters that are not finite"):
        manyhands.train(digits, **RUN, strategy="periodic:4", verify=True)


@pytest.mark.parametrize("rank", [0, 1])
def test_no_checkpoint_keeps_a_flipped_bit(digits, happens, rank):
    """What all have in common is kept once: it must be what all have."""
    whole = manyhands.train(digits, **RUN, strategy="gradient")
    happens(f"flip({rank},12)")
    found = manyhands.train(
        digits, **RUN, strategy="gradient", verify=True, on_loss="restart", every="3rounds", checkpoint_cost=1
    )
    assert found.model.learner.parameters.tobytes() == whole.model.learner.parameters.tobytes()
    assert found.incidents[0]["kind"] == "restart"


class TestFaults:
    @pytest.mark.parametrize(
        "text", ["kill(2,130)", "stop(0,1)", "fail(1,2)", "slow(1,2,0.5)", "nan(0,7)", "flip(3,4)"]
    )
    def test_are_read(self, text):
        found = faults.Fault.parse(text)
        assert text.startswith(f"{found.kind}({found.rank},{found.step}")

    @pytest.mark.parametrize("text", ["kill", "kill(1)", "kill(a,b)", "burn(1,2)", "kill(-1,2)", "kill(1,2"])
    def test_are_refused(self, text, tmp_path):
        with pytest.raises(SettingsError, match="is no fault; one is written as"):
            faults.put(tmp_path, text)

    def test_without_the_variable_there_are_none(self, monkeypatch):
        monkeypatch.delenv(faults.VARIABLE, raising=False)
        assert faults.planned() == []

    def test_a_slow_worker_is_named(self, digits, happens):
        happens("slow(1,1,0.04)")
        found = manyhands.train(digits, **{**RUN, "epochs": 2}, strategy="periodic:4")
        assert [each["rank"] for each in found.slow] == [1]


def test_where_nothing_can_be_compared_it_is_refused(digits):
    with pytest.raises(SettingsError, match="verify has no effect: the workers of hogwild share one vector"):
        manyhands.train(digits, strategy="hogwild", workers=2, verify=True, epochs=1)
