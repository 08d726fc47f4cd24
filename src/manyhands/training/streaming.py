"""Runs on data in parts: what they cannot do is refused before they begin, and workers get streams of their shares."""

from __future__ import annotations

from manyhands.core.choices import PYTORCH
from manyhands.core.errors import SettingsError
from manyhands.core.parameters import parameter
from manyhands.data.dataset import Dataset
from manyhands.data.parts import epochs
from manyhands.data.parts.stream import Stream, StreamSampler
from manyhands.teams.registry import kind_of
from manyhands.training.plan import Plan, PlannedStage
from manyhands.training.spec import RunSpec


def check_streamed(spec: RunSpec, plan: Plan, dataset: Dataset) -> None:
    """Raise SettingsError if a run needs more than one pass after the other over the rows, and these are in parts."""
    if dataset.parts is None:
        return
    what = None
    if spec.sharding == "global":
        what = f"{parameter('sharding', 'global')} draws every batch from all rows"
    elif spec.partition is not None:
        what = f"{parameter('partition')} divides rows by their labels"
    elif plan.strategy.needs.revisits_rows:
        what = f"the merge of {plan.strategy.name} computes on training samples again"
    elif plan.strategy.needs.passes > 1:
        what = f"{plan.strategy.name} goes through a part of the rows several times"
    elif plan.learner == "published":
        what = "the learner published is given all rows in one call"
    elif plan.torch.speculative is not None:
        what = "speculation orders all samples by their labels"
    elif plan.reliability.continues:
        what = f"{parameter('on_loss', 'continue')} gives the rows of a lost worker to the others"
    elif plan.learner in PYTORCH and plan.torch.device != "cpu":
        what = f"{parameter('device', plan.torch.device)} is given all samples at once"
    elif kind_of(plan.team).reads == "Spark":
        what = "Spark's executors read tables of their own"
    if what is not None:
        raise SettingsError(
            f"{what}, but {dataset.name} is read in parts while the run trains: choose another, or data that fit into "
            "memory"
        )


def open_stream(plan: Plan, dataset: Dataset, rank: int, size: int) -> Stream:
    """Return the stream of a worker's share."""
    assert dataset.parts is not None
    return Stream(
        dataset.parts,
        dataset.train,
        rank=rank,
        size=size,
        batch=max(-(-stage.batch // size) for stage in plan.stages) + 1,
        seed=plan.seed,
        epochs=plan.first_epoch + plan.epochs,
        shuffle=plan.shuffle,
        window_bytes=epochs.WINDOW_BYTES,
    )


def sampler(stream: Stream, plan: Plan, stage: PlannedStage, rank: int, size: int) -> StreamSampler:
    """Return a worker's sampler for a stage."""
    return StreamSampler(
        stream,
        rows=plan.rows,
        batch=stage.batch,
        rank=rank,
        size=size,
        seed=plan.seed,
        first_epoch=plan.first_epoch,
        shuffle=plan.shuffle,
    )
