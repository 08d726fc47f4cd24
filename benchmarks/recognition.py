"""How well photos are read: real ones beside other programs, synthetic pages as they get worse, and processor time.

``python benchmarks/recognition.py`` writes benchmarks/RECOGNITION.md and .json and docs/figures/recognition_error.png.
Tesseract is asked if it is installed (Debian: tesseract-ocr); RapidOCR, if RAPIDOCR_PYTHON names the Python of an
environment that has it (pip install rapidocr-onnxruntime). Both get upright pictures, and of several settings the best
counts for them.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from manyhands.core.version import __version__
from manyhands.data.catalog import DataRequest, load_test
from manyhands.recognition.api import recognize
from manyhands.recognition.page import Page
from manyhands.recognition.scoring import NOTHING, Score, detection, score, score_lines
from manyhands.recognition.synthetic import PageSettings, make_page
from manyhands.runtime.atomic_files import write_json, write_whole
from manyhands.runtime.hardware import cpu_model

HERE = Path(__file__).resolve().parent
PHOTOS = ("grid-a.jpg", "grid-b.jpg", "grid-c.jpg", "exam-boxes.png")
PAGES, OF_CURVES = 20, 8
"""Synthetic pages of each kind, and of each point of a curve: 72 characters each."""
CLEAN = PageSettings()
CASES = {
    "clean": CLEAN,
    "rotated by 5 degrees": replace(CLEAN, rotation=5.0),
    "ruled lines": replace(CLEAN, ruled=True),
    "uneven light": replace(CLEAN, shade=0.6),
    "rotated, ruled and uneven": replace(CLEAN, rotation=-4.0, ruled=True, shade=0.5),
    "perspective": replace(CLEAN, perspective=0.06),
    "noise 0.1": replace(CLEAN, noise=0.1),
    "dim light, noise": replace(CLEAN, light=0.15, noise=0.02),
    "characters touch: boxes meet": replace(CLEAN, gap=0.0),
    "characters touch: boxes overlap by 0.05 of their height": replace(CLEAN, gap=-0.05),
    "pushed together until ink meets ink": replace(CLEAN, gap=None),
}
CURVES: dict[str, list[tuple[float, PageSettings]]] = {
    "rotation, degrees": [(each, replace(CLEAN, rotation=float(each))) for each in (0, 2, 4, 6, 8, 10, 12, 15)],
    "noise, standard deviation": [(each, replace(CLEAN, noise=each)) for each in (0, 0.05, 0.1, 0.15, 0.2, 0.25)],
    "gap, heights of a character": [
        (each, replace(CLEAN, gap=each)) for each in (0.3, 0.2, 0.1, 0.05, 0.0, -0.05, -0.1)
    ],
}
RAPIDOCR = """
import sys
from rapidocr_onnxruntime import RapidOCR
found, _ = RapidOCR()(sys.argv[1])
print("\\n".join(each[1] for each in found or []))
"""


def truth_of(path: Path) -> list[str]:
    """Return the lines of a photo's truth, empty cells left out."""
    text = path.with_suffix(".txt").read_text()
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("#") and lines:
            break
        if line.strip() and not line.startswith("#"):
            lines.append(line)
    return [line.replace("0", "") for line in lines] if "empty" in text else lines


def photos(folder: Path) -> list[dict[str, Any]]:
    """Return the errors of all programs on the real photos."""
    rows = []
    for name in PHOTOS:
        truth = truth_of(folder / name)
        start = time.process_time()
        page = recognize(folder / name)
        seconds = time.process_time() - start
        own = score_lines(truth, [line for line in str(page).split("\n") if line.strip()])
        rows.append(
            {"photo": name, "characters": own.characters, "cpu_s": seconds, "errors": {"manyhands": own.errors}}
        )
        with tempfile.TemporaryDirectory() as scratch:
            upright = Path(scratch) / "upright.png"
            assert page.picture is not None
            Image.fromarray(page.picture).save(upright)
            rows[-1]["errors"].update(others(upright, "".join(truth)))
        print(rows[-1], flush=True)
    return rows


def others(picture: Path, truth: str) -> dict[str, int]:
    """Return the errors of other programs that are here, each with its best setting."""
    found = {}
    if shutil.which("tesseract"):
        texts = [
            said(["tesseract", str(picture), "-", "--psm", mode, *more])
            for mode in ("6", "11", "4")
            for more in ([], ["-c", "tessedit_char_whitelist=0123456789"])
        ]
        found["Tesseract"] = min(score(truth, text).errors for text in texts)
    if python := os.environ.get("RAPIDOCR_PYTHON"):
        found["RapidOCR"] = score(truth, said([python, "-c", RAPIDOCR, str(picture)])).errors
    return found


def said(command: Sequence[str]) -> str:
    """Return what another program prints, digits and ends of lines only."""
    out = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return "".join(each for each in out if each.isdigit() or each == "\n")


def measured(settings: PageSettings, data: str, alphabet: str, pages: int = PAGES) -> dict[str, Any]:
    """Return how well synthetic pages of one kind are read."""
    test = load_test(DataRequest(data))
    images = test.features.transpose(0, 2, 1) if test.is_transposed else test.features
    first = ord("A") - 1 if data == "letters" else ord("0")
    labels = [chr(first + int(each)) for each in test.labels]
    total, spaces, found = NOTHING, 0, []
    for seed in range(pages):
        made = make_page(images, labels, settings, seed)
        page = recognize(made.picture, alphabet=alphabet)
        own = score_lines(made.text.split("\n"), str(page).split("\n"))
        total, spaces = total + own, spaces + wrong_spaces(made.text, page, own)
        found.append(detection(made.boxes, [each.box for each in page.characters]))
    precision, recall = np.mean(found, axis=0)
    return {**total.to_json(), "wrong_spaces": spaces, "box_precision": precision, "box_recall": recall}


def wrong_spaces(truth: str, page: Page, own: Score) -> int:
    """Return how many spaces are missing or too many."""
    return max(0, score(truth.replace(" ", "_"), str(page).replace(" ", "_")).errors - own.errors)


def processor_time(folder: Path) -> list[dict[str, Any]]:
    """Return the processor time of photos of different sizes."""
    rows = []
    for megapixels in (1, 3, 6, 12):
        for name in ("grid-b.jpg", "exam-boxes.png"):
            with Image.open(folder / name) as file:
                picture = file.convert("RGB")
            factor = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
            large = picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.BICUBIC)
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch) / "photo.jpg"
                large.save(path, quality=90)
                start = time.process_time()
                recognize(path)
                rows.append({"photo": name, "megapixels": megapixels, "cpu_s": time.process_time() - start})
    return rows


def drawn(curves: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """Draw error rates against what makes pages worse."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(9, 2.9), sharey=True, layout="constrained")
    for axis, (name, points) in zip(axes, curves.items(), strict=True):
        x, y = zip(*points, strict=True)
        axis.plot(x, [100 * each for each in y], "o-", color="#0072b2")
        axis.set_xlabel(name)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("character errors, %")
    axes[0].set_ylim(bottom=0)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measure everything and write it down."""
    folder = Path(os.environ["MANYHANDS_DATA"]) / "photos"
    record: dict[str, Any] = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/recognition.py",
        "processor": cpu_model(),
        "versions": {"manyhands": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "photos": photos(folder),
        "pages": {name: measured(settings, "mnist", "digits") for name, settings in CASES.items()},
        "letters": measured(CLEAN, "letters", "letters"),
        "cpu": processor_time(folder),
    }
    curves = {
        name: [(at, measured(settings, "mnist", "digits", OF_CURVES)["error_rate"]) for at, settings in points]
        for name, points in CURVES.items()
    }
    record["curves"] = curves
    drawn(curves, HERE.parent / "docs" / "figures" / "recognition_error.png")
    write_json(HERE / "RECOGNITION.json", record)
    write_whole(HERE / "RECOGNITION.md", text_of(record).encode())
    print(text_of(record))


def text_of(record: dict[str, Any]) -> str:
    """Return the results as a page."""
    programs = sorted(
        {each for row in record["photos"] for each in row["errors"]}, key=lambda each: each != "manyhands"
    )
    lines = [
        "# Reading photos: results",
        "",
        f"`{record['command']}` on {record['processor']}; Manyhands {record['versions']['manyhands']}, Python "
        f"{record['versions']['python']}, NumPy {record['versions']['numpy']}, BLAS threads {record['threads']}.",
        "",
        "Errors are characters to put in, take out or replace. Other programs got the pictures upright, and of several "
        "settings the best counts.",
        "",
        f"| photo | characters | {' | '.join(programs)} | CPU s (ours) |",
        f"| --- | ---: |{' ---: |' * len(programs)} ---: |",
    ]
    for row in record["photos"]:
        errors = " | ".join(str(row["errors"].get(each, "")) for each in programs)
        lines.append(f"| {row['photo']} | {row['characters']} | {errors} | {row['cpu_s']:.2f} |")
    lines += [
        "",
        f"Synthetic pages of held-back test characters, {PAGES} of each kind with 72 characters:",
        "",
        "| pages | characters | error rate | precision | recall | wrong spaces |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in [*record["pages"].items(), ("letters (26 classes), clean", record["letters"])]:
        lines.append(
            f"| {name} | {row['characters']} | {row['error_rate']:.4f} | {row['precision']:.4f} | "
            f"{row['recall']:.4f} | {row['wrong_spaces']} |"
        )
    lines += ["", "| photo | megapixels | CPU s |", "| --- | ---: | ---: |"]
    lines += [f"| {row['photo']} | {row['megapixels']} | {row['cpu_s']:.2f} |" for row in record["cpu"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "MANYHANDS_DATA" not in os.environ:
        sys.exit("set MANYHANDS_DATA to the folder that has mnist/, letters/ and photos/")
    main()
