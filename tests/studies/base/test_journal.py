"""A journal is whole at any time: whatever it is cut to, only finished pieces are kept, and nothing else is touched."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyhands.core.errors import FormatError, OutOfMemoryError, OutputError, SettingsError
from manyhands.studies.base.journal import SCHEMA, Journal

STUDY = {"kind": "sweep", "hidden": [[4], [8, 2]], "seed": 0, "network": {"l2": 0.0001, "dtype": "float32"}}
ENTRIES = [{"session": 0, "loss": 0.1}, {"session": 2, "text": "größer\n"}, {"session": 1, "seconds": {"train": 1e-9}}]
HEADER = {"schema": SCHEMA, "study": STUDY}
NEW = {"session": 9}

FILLER = """
import os, sys
from manyhands.studies.base.journal import Journal
with Journal(sys.argv[1], {"kind": "test"}) as journal:
    print("open", flush=True)
    sys.stdin.read()
"""
"""Holds a journal until its input ends."""


def entries_of(path, study=STUDY):
    with Journal(path, study) as journal:
        return journal.entries


def lines_of(path):
    """Return the whole lines of a file as data; fail if it does not end with one."""
    content = path.read_bytes()
    assert content.endswith(b"\n")
    records = [json.loads(line) for line in content.splitlines()]
    assert all(len(record.pop("checksum")) == 16 for record in records)
    return records


def taken_over(path, study=STUDY):
    """Return the pieces that a study takes over from a journal."""
    found = []
    with Journal(path, study) as journal:
        journal.take_over(found.append)
    return found


@pytest.fixture
def path(tmp_path):
    """A journal with three entries."""
    path = tmp_path / "journal"
    with Journal(path, STUDY) as journal:
        for entry in ENTRIES:
            journal.add(entry)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a journal with three entries, and a file to write them to."""
    path = tmp_path_factory.mktemp("journal") / "journal"
    with Journal(path, STUDY) as journal:
        for entry in ENTRIES:
            journal.add(entry)
    return path.read_bytes(), path


class TestLines:
    def test_the_first_says_what_the_study_is_and_each_other_is_a_piece(self, path):
        assert lines_of(path) == [HEADER, *ENTRIES]

    def test_entries_are_in_the_file_before_add_returns(self, tmp_path):
        path = tmp_path / "journal"
        with Journal(path, STUDY) as journal:
            assert lines_of(path) == [HEADER]
            for number, entry in enumerate(ENTRIES, 1):
                journal.add(entry)
                assert lines_of(path) == [HEADER, *ENTRIES[:number]]
                assert journal.entries == ENTRIES[:number]

    def test_every_line_is_synchronized_with_the_disk(self, tmp_path, monkeypatch):
        synchronized, real = [], os.fsync

        def fsync(number):
            real(number)
            synchronized.append(path.read_bytes().count(b"\n"))

        monkeypatch.setattr(os, "fsync", fsync)
        path = tmp_path / "journal"
        with Journal(path, STUDY) as journal:
            for entry in ENTRIES:
                journal.add(entry)
        assert synchronized == [1, 2, 3, 4]

    def test_resumed_it_keeps_what_was_there_byte_for_byte(self, path):
        before = path.read_bytes()
        with Journal(path, STUDY) as journal:
            assert journal.entries == ENTRIES
            journal.add({"session": 3})
            assert journal.entries == [*ENTRIES, {"session": 3}]
        assert path.read_bytes().startswith(before + b'{"session": 3, "checksum": "')
        assert path.read_bytes().count(b"\n") == before.count(b"\n") + 1
        assert entries_of(path) == [*ENTRIES, {"session": 3}]

    def test_opening_alone_changes_nothing(self, path):
        before = path.read_bytes()
        entries_of(path)
        assert path.read_bytes() == before

    def test_tuples_and_lists_are_the_same_study(self, path):
        assert entries_of(path, {**STUDY, "hidden": ((4,), (8, 2))}) == ENTRIES

    def test_a_link_stays_a_link(self, path, tmp_path):
        link = tmp_path / "link"
        link.symlink_to(path)
        with Journal(link, STUDY) as journal:
            journal.add({"session": 3})
        assert link.is_symlink()
        assert len(lines_of(path)) == 5

    @pytest.mark.parametrize("there", [True, False])
    def test_a_link_out_of_its_folder_is_not_followed(self, tmp_path, there):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "journal").symlink_to(tmp_path / "other")
        if there:
            (tmp_path / "other").write_text("theirs")
        with pytest.raises(OutputError, match="leads out of its folder"):
            Journal(tmp_path / "mine" / "journal", STUDY)
        assert (tmp_path / "other").exists() == there

    @pytest.mark.parametrize("path", ["a\0b", "\ud800", "", "n" * 300])
    def test_a_path_that_no_file_can_have(self, path):
        with pytest.raises(OutputError):
            Journal(path, STUDY)

    def test_not_a_number_is_no_entry_and_leaves_no_half_line(self, path):
        before = path.read_bytes()
        with Journal(path, STUDY) as journal:
            with pytest.raises(ValueError, match="JSON"):
                journal.add({"loss": float("nan")})
            assert journal.entries == ENTRIES
        assert path.read_bytes() == before


class TestCrash:
    """A crash leaves any beginning of what was being written."""

    def test_cut_anywhere_whole_entries_are_kept_and_the_next_is_appended(self, whole):
        content, path = whole
        for length in range(len(content) + 1):
            path.write_bytes(content[:length])
            kept = max(0, content[:length].count(b"\n") - 1)
            with Journal(path, STUDY) as journal:
                assert journal.entries == ENTRIES[:kept], f"cut to {length} bytes"
                journal.add({"session": 9})
            assert lines_of(path) == [HEADER, *ENTRIES[:kept], {"session": 9}]

    @given(data=st.data())
    def test_many_crashes_lose_only_what_was_not_finished(self, whole, data):
        _, path = whole
        path.unlink(missing_ok=True)
        expected = []
        for number in range(data.draw(st.integers(1, 5), label="attempts")):
            with Journal(path, STUDY) as journal:
                assert journal.entries == expected
                for piece in range(data.draw(st.integers(0, 3), label="pieces")):
                    journal.add({"session": 10 * number + piece, "text": "é" * piece})
            content = path.read_bytes()
            shortest = len(content.splitlines(keepends=True)[0])
            content = content[: data.draw(st.integers(shortest, len(content)), label="length")]
            path.write_bytes(content)
            expected = [json.loads(line) for line in content[: content.rindex(b"\n")].splitlines()[1:]]
            for entry in expected:
                del entry["checksum"]
        assert entries_of(path) == expected

    @given(rest=st.binary(max_size=40).filter(lambda rest: b"\n" not in rest))
    def test_whatever_stands_behind_the_last_line_is_dropped(self, whole, rest):
        """After a power failure these may be zeros, or anything."""
        content, path = whole
        path.write_bytes(content + rest)
        with Journal(path, STUDY) as journal:
            assert journal.entries == ENTRIES
        assert path.read_bytes() == content

    def test_an_empty_file_becomes_a_journal(self, tmp_path):
        path = tmp_path / "journal"
        path.touch()
        assert entries_of(path) == []
        assert lines_of(path) == [HEADER]


class TestDamage:
    DAMAGES = (b"", b"\0" * 20, b"\xff\xfe", b'{"session": 0', b"[1]", b"17", b'{"a": 1} {}', b"[" * 100_000)

    @pytest.mark.parametrize("damage", DAMAGES, ids=range(len(DAMAGES)))
    def test_without_its_first_line_it_is_refused_and_nothing_is_changed(self, path, damage):
        content = path.read_bytes().split(b"\n", 1)[1]
        path.write_bytes(damage + b"\n" + content)
        with pytest.raises(FormatError, match="line 1:"):
            entries_of(path)
        assert path.read_bytes() == damage + b"\n" + content

    @pytest.mark.parametrize("number", [2, 3, 4])
    @pytest.mark.parametrize("damage", DAMAGES, ids=range(len(DAMAGES)))
    def test_a_damaged_line_is_named_and_left_out_and_stays(self, path, number, damage, notices):
        lines = path.read_bytes().splitlines()
        lines[number - 1] = damage
        path.write_bytes(b"\n".join(lines) + b"\n")
        before = path.read_bytes()
        assert taken_over(path) == [*ENTRIES[: number - 2], *ENTRIES[number - 1 :]]
        assert [str(path) in message and f"line {number}:" in message for message in notices] == [True]
        assert path.read_bytes() == before

    @given(data=st.data())
    def test_a_lost_line_end_costs_two_pieces(self, whole, data):
        content, path = whole
        ends = [place for place, byte in enumerate(content[:-1]) if byte == ord("\n")]
        number = data.draw(st.integers(1, len(ends) - 1))
        path.write_bytes(content[: ends[number]] + content[ends[number] + 1 :])
        with Journal(path, STUDY) as journal:
            assert journal.damaged == [number + 1]
            assert len(journal.entries) == len(ENTRIES) - 2

    def test_any_flipped_bit_is_noticed(self, whole, notices):
        """All bits of a journal, one after the other: the first line is refused, any other costs its piece."""
        content, path = whole
        first = content.index(b"\n") + 1
        for place in range(len(content)):
            changed = bytearray(content)
            changed[place] ^= 1 << (place % 8)
            path.write_bytes(changed)
            notices.clear()
            if place < first:
                with pytest.raises(FormatError, match="line 1:"):
                    entries_of(path)
                continue
            found = taken_over(path)
            assert len(found) in (1, 2)  # 1: the end of a line between two pieces
            assert all(entry in ENTRIES for entry in found)
            assert any("is run again" in notice for notice in notices), place

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda content: content.replace(b"\n", b"\r\n"), "ends of lines to CR LF"),
            (lambda content: b"\xef\xbb\xbf" + content, "byte-order mark"),
            (lambda content: content.replace(b"journal/2", b"journal/1"), "an older version wrote this checkpoint"),
            (lambda content: content.replace(b"journal/2", b"journal/3"), "says what study it is, is damaged"),
            (lambda content: content.replace(b'"seed": 0', b'"seed": 1'), "says what study it is, is damaged"),
            (lambda content: content.replace(b" ", b""), "no checkpoint of a study"),
        ],
        ids=range(6),
    )
    def test_a_changed_first_line(self, path, change, words):
        path.write_bytes(change(path.read_bytes()))
        with pytest.raises(FormatError, match=words):
            entries_of(path)

    def test_pieces_are_of_their_own_study_only(self, path, tmp_path, notices):
        """A line of another study's journal has a checksum, which is right there."""
        other = tmp_path / "other"
        with Journal(other, {**STUDY, "seed": 1}) as journal:
            journal.add(NEW)
        path.write_bytes(path.read_bytes() + other.read_bytes().splitlines(keepends=True)[1])
        assert taken_over(path) == ENTRIES
        assert any("line 5:" in notice for notice in notices)

    def test_order_and_copies_of_lines_do_no_harm(self, path, notices):
        first, *pieces = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(first + b"".join([*reversed(pieces), pieces[0], pieces[0]]))
        assert taken_over(path) == [*reversed(ENTRIES), ENTRIES[0], ENTRIES[0]]
        assert notices == []

    def test_a_second_first_line_is_no_piece(self, path, notices):
        """Two journals of one study, one behind the other."""
        path.write_bytes(2 * path.read_bytes())
        assert taken_over(path) == 2 * ENTRIES
        assert any("line 5:" in notice for notice in notices)

    def test_a_line_that_was_never_finished_is_named_once(self, path, notices):
        path.write_bytes(path.read_bytes()[:-5])
        assert (taken_over(path), taken_over(path)) == (ENTRIES[:2], ENTRIES[:2])
        assert [("line 4: it was never finished" in message) for message in notices] == [True]

    def test_many_damaged_lines_are_counted(self, path, notices):
        path.write_bytes(path.read_bytes() + b"x\n" * 9)
        assert taken_over(path) == ENTRIES
        assert any("lines 5, 6, 7, 8, 9 and 4 more:" in notice for notice in notices)

    def test_what_the_study_does_not_know_is_named(self, path, notices):
        """A line with a checksum that is right, but of which nothing can be made."""

        def accept(entry):
            return entry["loss"] + 1

        with Journal(path, STUDY) as journal:
            journal.take_over(accept)
        assert any("lines 3, 4: damaged, or no piece of this study" in notice for notice in notices)

    @pytest.mark.parametrize(
        "content",
        [
            b"hello\n",
            b"hello",
            b"label,x\n1,2\n",
            b'{"schema": "manyhands.sweep/1"}\n',
            b'{"schema": "manyhands.sweep/1", "sessions": [1]}',
            b'{\n "schema": "manyhands.sweep/1",\n "sessions": []\n}\n',
            b"{}\n",
            b"[]\n",
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}\n\0\0\0\0",
            b'@\0\0\0\0\0\0\0{"__metadata__":{"format":"pt"}}',
            b'{"event": "begin"}\n{"event": "epoch"}\n',
        ],
    )
    def test_a_file_that_is_no_journal_is_refused_and_not_modified(self, tmp_path, content):
        path = tmp_path / "precious"
        path.write_bytes(content)
        with pytest.raises(FormatError, match="no checkpoint of a study; give another file"):
            entries_of(path)
        assert path.read_bytes() == content

    def test_a_model_file_is_refused_and_not_modified(self, tmp_path, blobs):
        from manyhands import train

        path = tmp_path / "m.safetensors"
        train(blobs, hidden=(4,), epochs=1).save(path)
        before = path.read_bytes()
        with pytest.raises(FormatError, match="no checkpoint of a study"):
            entries_of(path)
        assert path.read_bytes() == before


class TestOtherSettings:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"seed": 1}, r"seed: 0 there, 1 now"),
            ({"network": {"l2": 0.5, "dtype": "float32"}}, r"network l2: 0\.0001 there, 0\.5 now"),
            ({"hidden": [[5]]}, r"hidden: \[\[4\], \[8, 2\]\] there, \[\[5\]\] now"),
            ({"new": "x"}, r"new: None there, x now"),
            ({"kind": "other", "seed": 1}, r"kind: sweep there, other now"),  # the first in alphabetical order
        ],
    )
    def test_are_refused_and_the_setting_is_named(self, path, change, words):
        before = path.read_bytes()
        with pytest.raises(SettingsError, match=rf"checkpoint of a study with other settings \({words}\)"):
            entries_of(path, {**STUDY, **change})
        assert path.read_bytes() == before

    def test_replace_a_journal_without_any_piece(self, tmp_path):
        path = tmp_path / "journal"
        entries_of(path)
        assert entries_of(path, {**STUDY, "seed": 1}) == []
        assert lines_of(path) == [{"schema": SCHEMA, "study": {**STUDY, "seed": 1}}]

    def test_replace_one_whose_only_piece_was_never_finished(self, tmp_path):
        path = tmp_path / "journal"
        entries_of(path)
        path.write_bytes(path.read_bytes() + b'{"session": 0, "lo')
        assert entries_of(path, {**STUDY, "seed": 1}) == []
        assert lines_of(path) == [{"schema": SCHEMA, "study": {**STUDY, "seed": 1}}]


class TestLock:
    def test_one_process_at_a_time_even_if_the_other_is_killed(self, tmp_path):
        path = tmp_path / "journal"
        other = subprocess.Popen(
            [sys.executable, "-c", FILLER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert other.stdout.readline() == "open\n"
            before = path.read_bytes()
            for study in ({"kind": "test"}, STUDY):
                with pytest.raises(SettingsError, match="another process is writing this checkpoint"):
                    entries_of(path, study)
            assert path.read_bytes() == before
            other.kill()
            other.wait()
            assert entries_of(path, {"kind": "test"}) == []
        finally:
            other.kill()
            other.communicate()

    def test_it_is_free_again_after_the_block_and_after_a_failure(self, path):
        for _ in range(2):
            with pytest.raises(SettingsError, match="other settings"):
                entries_of(path, {"kind": "other"})
        with contextlib.suppress(ZeroDivisionError), Journal(path, STUDY):
            1 / 0  # noqa: B018 - it is to fail
        assert entries_of(path) == ENTRIES


class TestNotWritable:
    def test_no_such_folder(self, tmp_path):
        with pytest.raises(OutputError, match="No such file or directory"):
            entries_of(tmp_path / "nowhere" / "journal")

    def test_a_folder(self, tmp_path):
        with pytest.raises(OutputError, match="Is a directory"):
            entries_of(tmp_path)

    def test_a_device(self):
        with pytest.raises(OutputError, match="cannot write"):
            entries_of(Path("/dev/null"))

    def test_full_disk(self, small_disk):
        """A single write fills the disk in the middle of a line: what was written of it goes again."""
        path = small_disk / "journal"
        with Journal(path, STUDY) as journal:
            journal.add(ENTRIES[0])
            for _ in range(2):
                with pytest.raises(OutputError, match=r"cannot write .*(No space left on device|the disk is full)"):
                    journal.add({"session": 1, "text": "x" * 200_000})
                assert lines_of(path) == [HEADER, ENTRIES[0]]
                assert journal.entries == [ENTRIES[0]]
            journal.add(ENTRIES[1])  # there is room for this one
        assert entries_of(path) == ENTRIES[:2]

    def test_disk_that_fills_up(self, small_disk):
        path = small_disk / "journal"

        def fill(journal):
            for number in range(1000):
                journal.add({"session": number, "text": "x" * 1000})

        with Journal(path, STUDY) as journal:
            with pytest.raises(OutputError, match="cannot write"):
                fill(journal)
            added = len(journal.entries)
        assert 40 < added < 64  # of 64 KiB
        assert [line["session"] for line in lines_of(path)[1:]] == list(range(added))

    def test_full_from_the_beginning(self, small_disk):
        (small_disk / "other").write_bytes(b"x" * 60_000)
        with contextlib.suppress(OSError), open(small_disk / "more", "wb", buffering=0) as file:
            while file.write(b"x" * 100):
                pass
        with pytest.raises(OutputError, match="cannot write"):
            entries_of(small_disk / "journal")
        (small_disk / "other").unlink()
        assert entries_of(small_disk / "journal") == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_file_that_memory_cannot_hold_is_named_and_never_read(tmp_path):
    path = tmp_path / "journal"
    with open(path, "wb") as file:
        file.truncate(1 << 42)  # without any block on the disk
    with pytest.raises(OutOfMemoryError, match=r"the checkpoint .*journal would take"):
        Journal(path, STUDY)
