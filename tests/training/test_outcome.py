"""A training that comes to nothing says so: at chance level, with a risen loss, with or without test samples."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import manyhands
from manyhands.core.errors import TrainingWarning
from manyhands.data.dataset import Examples, make_dataset
from manyhands.training.outcome import problem_of

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(200, 8))
LABELS = (ROWS[:, 0] > 0).astype(int)


def trained(dataset="digits", **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        return manyhands.train(dataset, **settings)


@pytest.fixture(scope="module")
def good():
    return trained(make_dataset("some", Examples(ROWS, LABELS), Examples(ROWS, LABELS)), hidden=(8,), epochs=30)


def test_too_high_a_rate_is_said_with_the_cause():
    with pytest.warns(TrainingWarning, match=r"learned nothing.*learning_rate=1\.0"):
        result = manyhands.train("digits", optimizer="sgd", learning_rate=10, epochs=5)
    assert result.accuracy == pytest.approx(0.1)  # 36 of 360
    assert "10.00 % of the test samples are no more than the same answer for all would get (10.28 %)" in result.problem


def test_nothing_is_said_of_a_training_that_went_well(good):
    assert good.problem is None


def test_too_few_steps_are_another_cause():
    dataset = make_dataset("some", Examples(ROWS, LABELS), Examples(ROWS, LABELS))
    result = trained(dataset, epochs=1)
    assert "it took few optimizer steps (1): try epochs=10" in problem_of(replace(result, accuracy=0.3), dataset)


def test_a_risen_loss_is_said_whatever_the_accuracy(good):
    dataset = make_dataset("some", Examples(ROWS, LABELS), Examples(ROWS, LABELS))
    text = problem_of(replace(good, losses=[0.5, 0.4, 0.6]), dataset)
    assert text.startswith("training has made the model worse: the training loss rose from 0.5 to 0.6")
    assert problem_of(replace(good, losses=[0.5, 0.6, 0.5]), dataset) is None


@pytest.mark.parametrize(("share", "wrong"), [(0.9, True), (0.95, False)])
def test_rare_classes_are_no_reason_to_be_proud(good, share, wrong):
    labels = np.arange(200) % 10 == 0  # nine of ten rows have one class
    dataset = make_dataset("some", Examples(ROWS, labels.astype(int)), Examples(ROWS, labels.astype(int)))
    assert (problem_of(replace(good, accuracy=share), dataset) is not None) == wrong


def test_without_test_samples_training_samples_are_looked_at(good):
    dataset = make_dataset("some", Examples(ROWS, LABELS), Examples(ROWS, LABELS))
    dataset = replace(dataset, test=dataset.test.take(slice(0, 0)))
    assert problem_of(replace(good, accuracy=float("nan")), dataset) is None
    good.model.learner.parameters[:], before = 0, good.model.learner.parameters.copy()
    try:
        assert "of the training samples" in problem_of(replace(good, accuracy=float("nan")), dataset)
    finally:
        good.model.learner.parameters[:] = before


def test_one_class_alone_is_no_problem(good):
    labels = np.zeros(200, int)
    dataset = make_dataset("some", Examples(ROWS, LABELS), Examples(ROWS, LABELS))
    alone = replace(dataset, test=replace(dataset.test, labels=labels.astype(np.int32)))
    assert problem_of(replace(good, accuracy=1.0), alone) is None


def test_a_comparison_warns_and_refuses_to_answer(capsys):
    from manyhands.reports.headline import answer
    from manyhands.studies.compare.run import compare
    from manyhands.studies.compare.text import comparison_table

    with pytest.warns(TrainingWarning) as warned:
        found = compare("digits", strategies=("sequential", "gradient"), workers=(2,), seeds=2, epochs=3,
                        optimizer="sgd", learning_rate=10.0)  # fmt: skip
    said = [str(each.message).split(", 2 of 2 runs: the model has learned nothing")[0] for each in warned]
    assert said == ["sequential n=1", "gradient n=2"]
    assert "Warning: sequential n=1, 2 of 2 runs: the model has learned nothing" in " ".join(
        comparison_table(found).split()
    )
    assert answer(found.record())[1].startswith("No answer: the sequential run itself has come to nothing.")
