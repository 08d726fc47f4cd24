"""Numbers of workers that a study is asked for."""

import pytest

from manyhands.studies.base.pool import check_pool
from manyhands.studies.base.workers import number_of_workers, numbers_of_workers
from manyhands.studies.compare.request import CompareRequest
from manyhands.studies.networks.request import NetworksRequest
from manyhands.studies.speculative.request import SpeculativeRequest
from manyhands.studies.strategies.request import StrategiesRequest


@pytest.fixture(autouse=True)
def _three_cores(monkeypatch):
    monkeypatch.setattr("manyhands.studies.base.workers.usable_cores", lambda: 3)


@pytest.mark.parametrize(
    ("given", "numbers"),
    [("all", (3,)), (2, (2,)), ((1, "all"), (1, 3)), ([1, 2], (1, 2)), ((), ()), (("most",), ("most",))],
)
def test_all_are_the_usable_cores_and_the_rest_stays(given, numbers):
    assert numbers_of_workers(given) == numbers
    for request in (CompareRequest, NetworksRequest, StrategiesRequest):
        assert request(workers=given).workers == numbers


def test_of_one_number():
    assert (number_of_workers("all"), number_of_workers(2), number_of_workers(None)) == (3, 2, None)
    assert SpeculativeRequest(workers="all").workers == 3
    assert check_pool("threads", "all") == 3
