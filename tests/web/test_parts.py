"""Parts of the server by themselves: names, events, corrections, verdicts, and what is noted during a run."""

import asyncio
import json

import numpy as np
import pytest

from manyhands.core.errors import DataError, OutputError, SettingsError
from manyhands.data.catalog import DataRequest, load
from manyhands.training.resolve import resolve
from manyhands.training.run import run
from manyhands.training.spec import RunSpec
from manyhands.web import verdict
from manyhands.web.corrections import Corrections
from manyhands.web.event_log import EventLog
from manyhands.web.guard import host_check
from manyhands.web.live import Live
from manyhands.web.session import Session
from manyhands.web.settings import ServerSettings, is_loopback
from manyhands.web.verdict import Ended


class TestNames:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "::1", "[::1]"])
    def test_own(self, host):
        assert is_loopback(host)

    @pytest.mark.parametrize(
        "host", ["0.0.0.0", "::", "192.168.0.1", "localhost.evil", "127.0.0.1.evil", "", "2130706433"]
    )
    def test_others(self, host):
        assert not is_loopback(host)

    @pytest.mark.parametrize(
        ("header", "answered"),
        [
            ("localhost:8000", True), ("[::1]:8000", True), ("[::1]", True), ("127.0.0.1", True),
            ("evil:127.0.0.1", False), ("127.0.0.1:80:90", False), ("evil.example:8000", False), ("", False),
            (":8000", False), ("192.168.0.1", False),
        ],
    )  # fmt: skip
    def test_headers(self, header, answered):
        assert host_check(ServerSettings())(header) == answered

    def test_those_of_a_network(self):
        is_ours = host_check(ServerSettings(allow_network=True, allowed_hosts=("Desk.Example",)))
        assert [is_ours(name) for name in ("192.168.0.1:80", "[fe80::1]:80", "desk.example", "evil.example")] == [
            True, True, True, False,
        ]  # fmt: skip

    def test_a_network_needs_permission(self):
        with pytest.raises(SettingsError, match="allow_network"):
            ServerSettings(host="0.0.0.0")


def followed(log, after, number):
    """The first events of a log, as records, with their ids."""

    async def take():
        found = b""
        async for piece in log.follow(after):
            found += piece
            if found.count(b"\n\n") >= number:
                return found
        return found

    lines = asyncio.run(take()).decode().strip().split("\n\n")
    return [json.loads(line.partition("data: ")[2]) for line in lines]


class TestEvents:
    @pytest.fixture
    def log(self):
        log = EventLog()
        for number in range(3):
            log.add({"kind": "x", "n": number})
        return log

    def test_all_come_to_those_who_come_late(self, log):
        assert [each.get("n") for each in followed(log, None, 4)] == [None, 0, 1, 2]

    def test_the_rest_comes_to_those_who_come_back(self, log):
        assert [each.get("n") for each in followed(log, f"{log.boot}-1", 2)] == [None, 2]

    def test_numbers_of_another_server_mean_nothing(self, log):
        assert [each.get("n") for each in followed(log, "ffff-1", 4)] == [None, 0, 1, 2]

    def test_those_who_come_back_to_another_training_get_it_whole(self, log):
        log.clear()
        log.add({"kind": "begin"})
        assert [each["kind"] for each in followed(log, f"{log.boot}-0", 2)] == ["hello", "begin"]

    def test_streams_end_when_it_is_closed(self, log):
        log.close()
        assert [each["kind"] for each in followed(log, None, 99)] == ["hello"]
        assert log.watchers == 0


class TestCorrections:
    @pytest.fixture
    def characters(self):
        return [np.full((8, 6, 3), value, np.uint8) for value in (10, 20)]

    def test_they_are_data_that_can_be_trained_on(self, tmp_path, characters):
        corrections = Corrections(str(tmp_path / "new"))
        key = corrections.expect(characters)
        assert corrections.store(key, {"0": "7", "1": "a"}) == 2
        assert sorted(path.parent.name for path in tmp_path.glob("new/*/*.png")) == ["7", "a"]

    def test_the_same_one_twice_is_one_file(self, tmp_path, characters):
        corrections = Corrections(str(tmp_path))
        assert [corrections.store(corrections.expect(characters), {"0": "7"}) for _ in range(2)] == [1, 0]

    @pytest.mark.parametrize(
        "labels",
        [
            {}, [], None, "7", {"0": "77"}, {"0": ""}, {"0": ".."}, {"0": "/"}, {"0": 7}, {"2": "7"}, {"-1": "7"},
            {"00": "7"}, {"0": "7\n"}, {"0": "\u0663"},
        ],
    )  # fmt: skip
    def test_what_is_no_correction_is_refused(self, tmp_path, characters, labels):
        corrections = Corrections(str(tmp_path))
        with pytest.raises(SettingsError):
            corrections.store(corrections.expect(characters), labels)
        assert list(tmp_path.iterdir()) == []

    def test_pages_are_forgotten(self, tmp_path, characters):
        corrections = Corrections(str(tmp_path))
        first = corrections.expect(characters)
        for _ in range(16):
            corrections.expect(characters)
        with pytest.raises(DataError, match="too long ago"):
            corrections.store(first, {"0": "7"})

    def test_links_out_of_the_folder_are_not_followed(self, tmp_path, characters):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "7").symlink_to(tmp_path / "elsewhere")
        corrections = Corrections(str(tmp_path / "in"))
        with pytest.raises(OutputError, match="link"):
            corrections.store(corrections.expect(characters), {"0": "7"})
        assert list((tmp_path / "elsewhere").iterdir()) == []

    def test_it_does_not_fill_the_disk(self, tmp_path, characters, monkeypatch):
        monkeypatch.setattr("manyhands.web.corrections._MOST_FILES", 1)
        corrections = Corrections(str(tmp_path))
        with pytest.raises(OutputError, match="full"):
            corrections.store(corrections.expect(characters), {"0": "7", "1": "8"})


class TestVerdict:
    def test_one_seed_is_no_proof(self):
        found = verdict.compared(2, [Ended(0, 0.5, 0.94)], [Ended(0, 1.0, 0.938)], 10_000)
        assert found["speedup"] == 2
        assert "0.50 s instead of 1.00 s: 2.00 times as fast" in found["text"]
        assert "94.00 % instead of 93.80 %, a difference of +0.20 percentage points." in found["text"]
        assert "no proof" in found["notes"][0]

    def test_three_seeds_have_intervals(self):
        scores = (0.940, 0.941, 0.939)
        several = [Ended(seed, 0.5 + 0.01 * seed, score) for seed, score in enumerate(scores)]
        one = [Ended(seed, 1.0, score + 0.0001 * seed) for seed, score in enumerate(scores)]
        found = verdict.compared(2, several, one, 10_000)
        assert "(1.92 to 2.00)" in found["text"]
        assert "3 seeds, 95 % intervals" in found["text"]
        assert "is the same" in found["notes"][0]

    def test_a_worse_accuracy_is_called_so(self):
        several = [Ended(seed, 0.5, 0.90 + 0.001 * seed) for seed in range(3)]
        one = [Ended(seed, 1.0, 0.94 + 0.001 * seed) for seed in range(3)]
        assert "lower" in verdict.compared(2, several, one, 10_000)["notes"][0]

    def test_without_comparison(self):
        assert "93.80 % of 360 test samples" in verdict.alone([Ended(0, 1.0, 0.938)], 360)["text"]


@pytest.fixture(scope="module")
def dataset():
    return load(DataRequest("digits", validation="auto"))


class TestWhatIsNoted:
    def watched(self, dataset, **settings):
        spec = RunSpec(workers=2, validation="auto", **{"epochs": 20, "strategy": "periodic:1epoch", **settings})
        plan, live = resolve(spec, dataset), Live(dataset.validation)
        result = run(plan, dataset, callbacks=[live])
        return result, live.sheet.take(), live.curve(result.model.learner), run(plan, dataset)

    @pytest.mark.parametrize(
        "strategy", ["periodic:1epoch", "gradient", "one-shot", "diloco:1epoch", "minibatch:5epochs"]
    )
    def test_a_training_that_is_watched_has_the_same_result(self, dataset, strategy):
        result, _, _, other = self.watched(dataset, strategy=strategy)
        np.testing.assert_array_equal(result.model.learner.parameters, other.model.learner.parameters)
        assert result.losses == other.losses

    def test_every_epoch_is_in_the_curve(self, dataset):
        _, _, curve, _ = self.watched(dataset)
        assert [point[0] for point in curve] == list(range(1, 21))
        assert curve[-1][4] > curve[0][4]

    def test_networks_that_differ_are_measured_when_they_are_one(self, dataset):
        _, _, curve, _ = self.watched(dataset, strategy="one-shot")
        assert [point[:2] for point in curve] == [[20, 1]]

    def test_of_a_long_run_some_epochs_are_kept(self, dataset, monkeypatch):
        monkeypatch.setattr("manyhands.web.live._MOST_KEPT", 8)
        _, _, curve, _ = self.watched(dataset, epochs=100)
        assert 4 <= len(curve) <= 20
        assert curve[-1][0] == 100

    def test_losses_and_times_are_those_of_all_workers(self, dataset):
        _, sheet, _, _ = self.watched(dataset)
        assert sorted((rank, epoch) for rank, epoch, *_ in sheet["losses"]) == [
            (rank, epoch) for rank in (0, 1) for epoch in range(1, 21)
        ]
        assert {lane[0] for lane in sheet["lanes"]} == {0, 1}

    def test_other_work_is_a_doubt(self, dataset, monkeypatch):
        monkeypatch.setattr("manyhands.runtime.hardware.load", lambda: {"one_minute": 1e6, "running": 9})
        from manyhands.web.choices import data_choices, offered, read_request

        choices, told = data_choices(), []
        asked = {**offered(choices)["defaults"], "data": "digits", "epochs": 10, "workers": 1}
        Session(told.append).train(read_request(asked, choices), choices["digits"])
        assert "not to be trusted" in told[-1]["notes"][-1]
