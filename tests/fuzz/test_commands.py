"""Fuzzed command lines: one clear message and a status that is not 0, or a result; never a traceback."""

import contextlib
import io
import itertools
import struct

import numpy as np
import pytest

from manyhands.cli import main

COMMANDS = (
    "train",
    "train",
    "compare",
    "evaluate",
    "predict",
    "sweep",
    "report",
    "study",
    "doctorr",
    "",
    "--help",
    "train --help",
)
OPTIONS = {
    "--workers": ("1", "2", "0", "-1", "2.0", "x", "99999999999999999999", "1,2", ""),
    "--strategy": (
        "periodic:1epoch",
        "gradient",
        "one-shot",
        "nonsense",
        "periodic:",
        "gradient then",
        "auto",
        "",
        "\0x",
    ),
    "--hidden": ("3", "2,2", "none", "0", "", "999999999999", "3;3", "-1", "1e3"),
    "--batch": ("5", "1", "0", "nan", "99999999"),
    "--epochs": ("1", "2", "0", "-3", "1.5", "two"),
    "--learning-rate": ("0.01", "0", "-1", "nan", "inf", "1e300", "x"),
    "--l2": ("0", "-1", "nan", "1e300"),
    "--dropout": ("0.5", "1", "-0.1", "nan"),
    "--seed": ("1", "-1", str(2**63), str(10**30), "x"),
    "--train-size": ("5", "0", "99999", "-1"),
    "--validation": ("5", "auto", "0", "99999"),
    "--scale": ("auto", "none", "standard", "x"),
    "--binarize": ("auto", "7", "nan", "1e999"),
    "--labels": ("fine", "coarse", "x"),
    "--shape": ("1x2x3", "2x3", "1x3x3", "0x2x3", ""),
    "--stop": ("loss", "accuracy:90%", "never", "loss:nan"),
    "--schedule": ("cosine", "step:50%", "up", "step:0%"),
    "--partition": ("iid", "dirichlet:0.3", "dirichlet:0", "sorted"),
    "--optimizer": ("adam", "sgd", "sgdd"),
    "--activation": ("relu", "tanh", "?"),
    "--loss": ("cross_entropy", "poisson", "l3"),
    "--weight-init": ("zeros", "uniform:0.1", "uniform:nan", "orthogonal:1"),
    "--dtype": ("float64", "float16"),
    "--team": ("threads", "cloud"),
    "--blas-threads": ("1", "0", "x"),
    "--label-column": ("0", "-1", "9", "name", ""),
    "--json": ("{here}/out.json", "{here}", "/nowhere/x", "", "{here}/\udcff"),
    "--out": ("{here}/out.model", "{here}", "/nowhere/x", ""),
    "--nothing": ("1",),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny data set as IDX files."""
    folder = tmp_path_factory.mktemp("fuzz") / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, rows in (("train", 30), ("t10k", 12)):
        labels = (np.arange(rows) % 3).astype(np.uint8)
        images = np.clip(labels[:, None, None] * 80 + rng.integers(0, 40, (rows, 2, 3)), 0, 255).astype(np.uint8)
        header = struct.pack(">HBB3I", 0, 8, 3, *images.shape)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, rows) + labels.tobytes())
    return folder


def pick(rng, values):
    return values[int(rng.integers(0, len(values)))]


def command_line(rng, folder):
    words = pick(rng, COMMANDS).split(" ")
    words += ["--data", str(folder) if rng.random() < 0.9 else pick(rng, ("/nowhere", "", "mnistt", "\udcff"))]
    given = {"--epochs": "1", "--batch": "10", "--hidden": "3"}
    names = tuple(OPTIONS)
    for _ in range(int(rng.integers(0, 4))):
        name = pick(rng, names)
        given[name] = pick(rng, OPTIONS[name]).format(here=folder.parent)
    if words[0] == "study":
        words.insert(1, pick(rng, ("exemplar", "w9", "")))
        given["--splits"] = "x"  # a study is long: only its refusals are tried here
    if words[0] == "sweep":
        given |= {"--runs": "1", "--epochs": given["--epochs"]}
    if words[0] == "compare":
        given.setdefault("--workers", "1")
        given.setdefault("--strategy", "gradient")
    words += [f"{name}={value}" for name, value in given.items()]
    if rng.random() < 0.1:
        words.insert(int(rng.integers(0, len(words))), pick(rng, ("--", "-x", "--quiet", "", "stray", "@file", "-")))
    return words


def shown_by(words):
    """Run a command; return its status and what it prints, in streams with the encoding of a real one's."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace") for _ in range(2)]
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code
    for stream in streams:
        stream.flush()
    return status, *(stream.buffer.getvalue().decode() for stream in streams)


def test_command_lines(campaign, folder, monkeypatch):
    monkeypatch.delenv("MANYHANDS_HANG_TIMEOUT", raising=False)
    statuses = dict.fromkeys(itertools.chain(range(3)), 0)

    def case(rng):
        words = command_line(rng, folder)
        status, out, err = shown_by(words)
        assert status in (0, 1, 2), f"{words}: {status!r}\n{err}"
        statuses[status] += 1
        assert "Traceback" not in err + out, f"{words}:\n{err}"
        if status:
            assert err.strip(), f"{words}: status {status} without a word"
            assert len(err.strip().splitlines()[-1]) < 1000
        else:
            assert out.strip(), f"{words}: nothing was printed"
            assert "nan %" not in out, f"{words}:\n{out}"

    campaign.run(400, case)
    assert min(statuses[0], statuses[2]) > 20
