"""Synthetic records of every kind, with plausible numbers: what the studies write."""

import copy
import math
import random
import statistics

HIDDEN = EPOCHS = (50, 65, 75, 85, 100)
# strategy: (points lost per doubling of the workers, seconds of communication per worker)
STRATEGIES = {"one-shot": (1.0, 0.01), "periodic:1epoch": (0.02, 0.03), "gradient": (0.0, 0.08)}
W4_STRATEGIES = {"minibatch:5epochs": (0.1, 0.02), "periodic:1epoch": (0.02, 0.03)}


def environment(command="manyhands compare --data mnist"):
    return {
        "manyhands": "0.1.0",
        "command": command,
        "time": "2025-03-01T12:00:00+00:00",
        "cpu": "A Processor",
        "cores": 2,
        "system": "Linux 6.1 x86_64",
        "python": "3.11.7",
        "packages": {"numpy": "2.4.6", "numba": "0.68.1"},
        "blas": {"library": "OpenBLAS", "version": "0.3.34", "core_type": "SkylakeX"},
        "threads": "one BLAS/OpenMP thread per worker (pinned)",
        "variables": {},
    }


def data(name="mnist"):
    return {
        "name": name,
        "train_rows": 6000,
        "test_rows": 10000,
        "features": 784,
        "classes": 10,
        "scaling": "x / 255",
        "note": "MNIST from a folder",
    }


def seconds(train, read=0.2):
    return {
        "startup": 0.001,
        "read": read,
        "distribute": 0.0,
        "compute": 0.95 * train,
        "communicate": 0.04 * train,
        "merge": 0.01 * train,
        "evaluate": 0.03,
        "train": train,
        "total": train + read,
    }


def curve(accuracy, train, points=15, epochs=75):
    """A course that ends at the given accuracy and time."""
    found = []
    for k in range(1, points + 1):
        part = k / points
        found.append(
            {
                "step": 150 * k,
                "epoch": epochs * part,
                "round": 5 * k,
                "train_s": train * part,
                "loss": 0.22 + 0.7 * math.exp(-6 * part),
                "accuracy": accuracy - 0.12 * math.exp(-7 * part),
            }
        )
    return found


def run(strategy, workers, seed, accuracy, train, *, curves=False, splits=None):
    return {
        "strategy": strategy,
        "workers": workers,
        "team": "threads",
        "learner": "mlp",
        "sharding": "global",
        "seed": seed,
        "accuracy": accuracy,
        "steps": 2250,
        "rounds": 75,
        "bytes_sent": 19228800,
        "examples": 450000 // workers,
        "loss": 0.21,
        "split": seed if splits else None,
        "rows": 6000,
        "seconds": seconds(train),
        "target_s": 0.6 * train if accuracy > 0.93 else None,
        "curve": curve(accuracy, train) if curves else None,
    }


def runs(strategies, workers, seeds, **how):
    """Runs whose noise comes from a generator with a fixed seed."""
    chance, found = random.Random(7), []
    for seed in range(seeds):
        base = 0.938 + chance.gauss(0, 0.002)
        found.append(run("sequential", 1, seed, base, 0.63 + chance.gauss(0, 0.01), **how))
        for name, (loss, talk) in strategies.items():
            for n in workers:
                lost = loss / 100 * math.log2(n) + (chance.gauss(0, 0.0006) if n > 1 else 0)
                train = 0.63 * (0.08 + 0.92 / min(n, 2)) + talk * n * (1 if n > 1 else 0) + chance.gauss(0, 0.006)
                found.append(run(name, n, seed, base - lost, train, **how))
    return found


def interval(values):
    if len(values) < 2:
        return None
    half = 2.776 * statistics.stdev(values) / math.sqrt(len(values))
    return [statistics.fmean(values) - half, statistics.fmean(values) + half]


def summary(all_runs, margin=0.25, cores=2, scaled=False):
    groups = {}
    for each in all_runs:
        groups.setdefault((each["strategy"], each["workers"]), []).append(each)
    base = {each["seed"]: each for each in all_runs if each["strategy"] == "sequential"}
    return [_row(group, base, margin, cores, scaled) for group in groups.values()]


def _row(group, base, margin, cores, scaled):
    strategy, workers = group[0]["strategy"], group[0]["workers"]
    scores = [each["accuracy"] for each in group]
    deltas = [100 * (each["accuracy"] - base[each["seed"]]["accuracy"]) for each in group]
    ratios = [base[each["seed"]]["seconds"]["train"] / each["seconds"]["train"] for each in group]
    train = statistics.median(each["seconds"]["train"] for each in group)
    speedup, mean, ends = statistics.median(ratios), statistics.fmean(scores), interval(deltas)
    sequential = strategy == "sequential"
    word = _word(ends, margin)
    reached = [each["target_s"] for each in group if each["target_s"] is not None]
    return {
        "strategy": strategy,
        "workers": workers,
        "accuracy_mean": mean,
        "accuracy_ci95": interval(scores),
        "delta_pp": None if sequential else statistics.fmean(deltas),
        "delta_ci95": None if sequential else ends,
        "train_s": train,
        "total_s": train + 0.2,
        "speedup": speedup,
        "speedup_ci95": [min(ratios), max(ratios)] if len(ratios) > 1 and not sequential else None,
        "efficiency": speedup / workers,
        "impact": 100 * mean / train,
        "impact_with_communication": 100 * mean / (train + 0.2),
        "oversubscribed": workers > cores,
        "verdict": None if sequential or scaled else word,
        "more_seeds": 12 if word == "undecided" and len(group) > 1 else None,
        "target_s": statistics.median(reached) if reached else None,
        "target_reached": len(reached),
        "scaled_speedup": 0.9 * workers + 0.1 if scaled else None,
    }


def _word(ends, margin):
    if ends is None:
        return "undecided"
    if -margin < ends[0] and ends[1] < margin:
        return "same"
    return "lower" if ends[1] < 0 else "higher" if ends[0] > 0 else "undecided"


def laws(rows, scaled=False):
    found = []
    for name in dict.fromkeys(row["strategy"] for row in rows if row["workers"] > 1):
        mine = [row for row in rows if row["strategy"] == name]
        found.append(
            {
                "strategy": name,
                "workers": [row["workers"] for row in mine],
                "speedups": [row["speedup"] for row in mine],
                "amdahl": None if scaled else {"serial_fraction": 0.36, "oversubscribed": False},
                "usl": None
                if scaled
                else {
                    "contention": 0.12,
                    "coherency": 0.05,
                    "best_workers": 4.2,
                    "peak_speedup": 1.9,
                    "oversubscribed": True,
                },
                "gustafson": {"serial_fraction": 0.1, "oversubscribed": False} if scaled else None,
                "oversubscribed": True,
            }
        )
    return found


def compare(seeds=5, workers=(1, 2, 4, 6), strategies=None, *, curves=False, scaled=False, **settings):
    strategies = STRATEGIES if strategies is None else strategies
    all_runs = runs(strategies, workers, seeds, curves=curves, splits=settings.get("splits"))
    rows = summary(all_runs, scaled=scaled)
    return {
        "schema": "manyhands.compare/1",
        "environment": environment(),
        "settings": {
            "data": data(),
            "strategies": ["sequential", *strategies],
            "sharding": dict.fromkeys(["sequential", *strategies], "global"),
            "workers": list(workers),
            "team": "threads",
            "learner": "mlp",
            "network": {"hidden": [75], "activation": "relu", "optimizer": "adam", "learning_rate": 0.001},
            "batch": 200,
            "epochs": 75,
            "seeds": seeds,
            "seed": 0,
            "splits": None,
            "target": None,
            "margin": 0.25,
            "scaled": scaled,
            **settings,
        },
        "interrupted": False,
        "runs": all_runs,
        "summary": rows,
        "laws": laws(rows, scaled),
    }


def sweep(hidden=HIDDEN, epochs=EPOCHS, seeds=5, *, name="mnist"):
    """A sweep; an entry of `hidden` is a width or a tuple of widths."""
    widths = [[each] if isinstance(each, int) else list(each) for each in hidden]
    sessions, table = [], []
    for layer in widths:
        for count in epochs:
            time = 0.002 * count + 0.00006 * count * sum(layer)
            percent = 92.6 + 1.4 * (1 - math.exp(-sum(layer) / 60)) + 0.3 * (1 - math.exp(-count / 40))
            table.append(_cell(layer, count, seeds, time, percent))
            sessions += [_session(layer, count, seed, time, percent) for seed in range(seeds)]
    return {
        "schema": "manyhands.sweep/1",
        "environment": environment("manyhands sweep --data mnist"),
        "settings": {
            "data": {**data(name), "validation_rows": 1200},
            "learner": "mlp",
            "network": {"hidden": widths[0], "activation": "relu", "optimizer": "adam"},
            "hidden": widths,
            "epochs": list(epochs),
            "runs": seeds,
            "seed": 0,
            "s1": 1.0,
            "s2": 1.0,
            "splits": None,
            "workers": 1,
            "team": "threads",
            "chosen_on": "validation",
            "tradeoff": "impact",
            "target": None,
        },
        "interrupted": False,
        "sessions": sessions,
        "table": table,
        "best": {
            "hidden": widths[0],
            "epochs": epochs[0],
            "tradeoff": "impact",
            "reason": f"{'-'.join(map(str, widths[0]))} hidden, {epochs[0]} epochs: the largest impact factor, "
            f"{table[0]['impact']:.1f} ({table[0]['accuracy_pct']:.2f} % of the validation samples in 0.250 s)",
        },
    }


def _cell(layer, count, seeds, time, percent):
    return {
        "hidden": layer,
        "epochs": count,
        "runs": seeds,
        "time_s": time,
        "time_falsified": False,
        "accuracy_pct": percent,
        "accuracy_ci95": [percent - 0.2, percent + 0.2] if seeds > 1 else None,
        "test_pct": percent - 0.1,
        "impact": percent / time,
    }


def _session(layer, count, seed, time, percent):
    return {
        "hidden": layer,
        "epochs": count,
        "seed": seed,
        "split": None,
        "accuracy": percent / 100 - 0.001,
        "validation_accuracy": percent / 100,
        "epochs_run": count,
        "loss": 0.2,
        "seconds": seconds(time * (1 + 0.01 * seed)),
        "side_by_side": 1,
        "retimed_s": None,
    }


def published():
    here = {1: (2.172, 88.01, 2.173), 2: (1.275, 85.02, 1.29), 4: (1.282, 82.34, 1.293), 6: (1.448, 81.1, 1.464)}
    there = {1: (5.39, 88.23, 5.39), 2: (2.67, 85.15, 13.67), 4: (2.21, 82.56, 13.21), 6: (2.08, 80.97, 13.08)}

    def lines(side, with_talk):
        return [
            {"processes": n, "time_s": v[with_talk], "accuracy_pct": v[1], "impact": v[1] / v[with_talk]}
            for n, v in side.items()
        ]

    return {
        "schema": "manyhands.published/1",
        "environment": environment("manyhands compare --as-published"),
        "settings": {"data": data(), "strategy": "one-shot", "workers": [1, 2, 4, 6], "seeds": 1, "seed": 0},
        "interrupted": False,
        "runs": [run("one-shot", n, 0, values[1] / 100, values[0]) for n, values in here.items()],
        "tables": {
            f"table{k}": {"here": lines(here, 2 * (k - 2)), "published": lines(there, 2 * (k - 2))} for k in (2, 3)
        },
    }


def w1(**how):
    return {
        "schema": "manyhands.study/1",
        "study": "w1",
        "environment": environment("manyhands study w1 --as-published"),
        "settings": {"data": data(), "seeds": 5},
        "interrupted": False,
        "sweep": sweep(),
        "compare": compare(**how),
        "published": published(),
    }


def w4():
    strategies = W4_STRATEGIES
    record = compare(seeds=8, workers=(2, 4), strategies=strategies, curves=True, splits=8, target=0.93)
    return {
        "schema": "manyhands.study/1",
        "study": "w4",
        "environment": environment("manyhands study w4"),
        "settings": {"data": data(), "seeds": 8},
        "interrupted": False,
        "sweep": None,
        "compare": record,
        "published": None,
    }


def interrupted(record):
    """The same, stopped after the first few runs."""
    found = copy.deepcopy(record)
    found["interrupted"] = True
    part = found if "runs" in found else found["compare"]
    part["interrupted"] = True
    part["runs"] = part["runs"][:3]
    part["summary"] = summary(part["runs"])
    part["laws"] = laws(part["summary"])
    return found


def nothing_finished():
    """A study that was stopped at once."""
    return {**w1(), "interrupted": True, "sweep": None, "compare": None, "published": None}


def networks(targets=(0.85, 0.92), seeds=3, margin=0.25, in_turn=True):
    """A study of networks: a base, two activations, and weights that all start at 1."""
    chance = random.Random(3)
    members = [("", "base", 0.935), ("activation", "tanh", 0.93), ("activation", "identity", 0.90)]
    members += [("weight_init", "weights ones", 0.21)]
    found_runs, found_rows = [], []
    for number, (_, name, level) in enumerate(members):
        mine = []
        for seed in range(seeds):
            base = level + chance.gauss(0, 0.001)
            for strategy, n in (("sequential", 1), ("periodic:1epoch", 2), ("one-shot", 4)):
                lost = {1: 0, 2: 0.0002, 4: 0.02}[n]
                score = base - lost + (chance.gauss(0, 0.0002) if n > 1 else 0)
                each = run(strategy, n, seed, score, 0.5 / n + 0.05 * number, curves=bool(targets) and n < 4)
                more = {"network": number, "learning_rate": 0.001, "validation_accuracy": score, "confidence": 0.95}
                neurons = [1] if name == "weights ones" else [75]
                mine.append({**each, **more, "calibration_error": 0.03, "distinct_neurons": neurons})
        found_runs += mine
        found_rows += [_network_row(number, row, mine, targets) for row in summary(mine, margin)]
    return {
        "schema": "manyhands.networks/1",
        "environment": environment("manyhands study w2"),
        "settings": {
            "data": {**data(), "validation_rows": 10000},
            "axes": ["activation", "weight_init"],
            "in_turn": in_turn,
            "strategies": ["sequential", "periodic:1epoch", "one-shot"],
            "workers": [1, 2, 4],
            "targets": list(targets),
            "multiples": [0.25, 1, 4],
            "network": {},
            "epochs": 75,
            "seeds": seeds,
            "seed": 0,
            "tuning": 1,
            "margin": margin,
            "skipped": [],
        },
        "interrupted": False,
        "networks": [
            {"axis": axis if in_turn else "", "name": name, "batch": 200, "hidden": [75], "activation": "relu"}
            for axis, name, _ in members
        ],
        "runs": found_runs,
        "tried": [{"network": 0, "learning_rate": 0.001, "seed": 1000, "validation_accuracy": 0.93}],
        "diverged": [
            {"network": 3, "learning_rate": 1.0, "seed": 2, "strategy": "one-shot", "workers": 2, "step": 9},
        ],
        "summary": found_rows,
        "best": 0,
    }


def _network_row(number, row, mine, targets):
    runs_of = [each for each in mine if (each["strategy"], each["workers"]) == (row["strategy"], row["workers"])]
    reached = []
    for target in targets:
        firsts = [[p for p in each["curve"] or [] if p["accuracy"] >= target][:1] for each in runs_of]
        points = [first[0] for first in firsts if first]
        reached.append(
            {
                "target": target,
                "runs": len(points),
                "epochs": statistics.median(p["epoch"] for p in points) if points else None,
                "seconds": statistics.median(p["train_s"] for p in points) if points else None,
            }
        )
    gone = ("target_s", "target_reached", "scaled_speedup")
    return {
        "network": number,
        **{name: value for name, value in row.items() if name not in gone},
        "learning_rate": 0.001,
        "validation_mean": row["accuracy_mean"],
        "validation_ci95": row["accuracy_ci95"],
        "confidence_mean": 0.95,
        "confidence_ci95": [0.94, 0.96],
        "calibration_error_mean": 0.03,
        "calibration_error_ci95": [0.02, 0.04],
        "reached": reached,
        "distinct_neurons": runs_of[0]["distinct_neurons"],
    }


def speculative(thresholds=(0.0, 0.1, 1.0), seeds=3, epochs=4, lost=0.0):
    """A study of speculation, in which lanes train in less time and lose so many points of accuracy."""
    chance = random.Random(5)
    cases = [("sequential", "sequential", 0.0, 1, 1, 1.0)]
    cases += [(f"T={each:g}, 2 lanes", "balanced", each, 2, 1, 0.9 - 0.2 * each) for each in thresholds]
    cases += [
        ("T=1, 2 plain lanes", "plain", 1.0, 2, 1, 0.8),
        ("T=1, 2 lanes, predicted", "predicted", 1.0, 2, 1, 0.75),
    ]
    cases += [("2 workers", "workers", None, 1, 2, 0.6), ("autograd", "ordinary", None, 1, 1, 1.1)]
    found = []
    for seed in range(seeds):
        base = 0.98 + chance.gauss(0, 0.0005)
        for name, kind, threshold, lanes, workers, times in cases:
            score = base - (0 if lanes == 1 else lost / 100) + (chance.gauss(0, 0.0001) if times != 1 else 0)
            each = run("sequential" if workers == 1 else "gradient", workers, seed, score, times + chance.random() / 50)
            points = curve(score, times, epochs, epochs)
            facts = None if threshold is None else _speculation(threshold, lanes, kind, epochs)
            found.append({**each, "case": name, "curve": points, "speculation": facts})
    rows = {row["strategy"]: row for row in summary([{**each, "strategy": each["case"]} for each in found])}
    fields = ("name", "kind", "threshold", "lanes", "workers")
    return {
        "schema": "manyhands.speculative/1",
        "environment": environment("manyhands study speculative"),
        "settings": {"data": data(), "network": {}, "architecture": "cnn-fast", "margin": 0.25, "epochs": epochs},
        "interrupted": False,
        "cases": [dict(zip(fields, case, strict=False)) for case in cases],
        "runs": found,
        "diverged": [{"case": "autograd", "seed": 7, "step": 12}],
        "summary": [_case_row(rows[name], lanes, threshold) for name, _, threshold, lanes, _, _ in cases],
    }


def _speculation(threshold, lanes, kind, epochs):
    """What a learner says: two layers, each of whose parts takes a millisecond; the second lane goes back."""
    parts = [("forward", layer) for layer in ("0 Conv2d", "2 Linear")]
    parts += [(f"{what} gradient", "2 Linear") for what in ("weight", "input")] + [("weight gradient", "0 Conv2d")]
    spans = []
    for place, (what, layer) in enumerate(parts):
        lane = 0 if lanes == 1 or place < 2 or (kind == "balanced" and place == 4) else 1
        begin = sum(span["lane"] == lane for span in spans) / 1000
        spans.append({"lane": lane, "what": what, "layer": layer, "begin": begin, "end": begin + 0.001})
    rates = [threshold * (1 - 0.5 ** (epoch + 1)) for epoch in range(epochs)]
    measured = {"hit_rate": statistics.fmean(rates), "saved": 0.3, "ceiling": 0.45, "ideal": 0.5}
    return {"hits": 9, "misses": 1, "unseen": 2, **measured, "hit_rate_by_epoch": rates, "timeline": spans}


def _case_row(row, lanes, threshold):
    names = (
        "accuracy_mean",
        "accuracy_ci95",
        "delta_pp",
        "delta_ci95",
        "train_s",
        "speedup",
        "speedup_ci95",
        "verdict",
    )
    part = None if threshold is None else 0.4
    ends = row["speedup_ci95"]
    return {
        "case": row["strategy"],
        **{name: row[name] for name in (*names, "more_seeds")},
        "reduction_pct": 100 * (1 - 1 / row["speedup"]),
        "reduction_ci95": None if ends is None else [100 * (1 - 1 / end) for end in ends],
        "oversubscribed": lanes > 2,
        **dict.fromkeys(("hit_rate", "saved", "ceiling", "ideal"), part),
    }


LEVELS = ("session", "exemplar", "node", "weight", "pairs")


def level_case(hidden, level, workers, name=None):
    return {
        "hidden": list(hidden),
        "level": level,
        "workers": workers,
        "name": name or "-".join(map(str, hidden)),
        "parameters": 1000,
        "exchanges": 0 if level in ("one", "session") else 2,
        "array_bytes": 4_000_000 // workers,
        "operations": 1e6,
        "memory_bytes": 1e6,
        "predicted_ms": 8.0 / workers,
    }


def levels(times=((64, 1.0, 3.0), (256, 2.0, 4.0), (1024, 16.0, 8.0)), repeats=3):
    """A study of the levels: two networks; of each width, ms of exemplar and of node (pairs take a half more)."""
    cases = [level_case((75,), "one", 1, "narrow")]
    found = {0: 10.0}
    for workers in (2, 4):
        for place, level in enumerate(LEVELS):
            cases.append(level_case((75,), level, workers, "narrow"))
            found[len(cases) - 1] = 10 / workers + place
    for width, exemplar, node in times:
        for level, ms in (("one", 12.0), ("exemplar", exemplar), ("node", node), ("pairs", 1.5 * node)):
            cases.append(level_case((width, width), level, 1 if level == "one" else 2))
            found[len(cases) - 1] = ms
    keys = ("hidden", "level", "workers")
    runs = [
        {
            **{key: case[key] for key in keys},
            "repeat": repeat,
            "steps": 20,
            "step_ms": found[place] * (1 + 0.02 * (repeat - 1)),
            "communicate_ms": 0.1,
            "sent_bytes": 0.0 if case["level"] == "session" else 250_000.0,
            "seconds": seconds(0.02 * found[place]),
        }
        for repeat in range(repeats)
        for place, case in enumerate(cases)
    ]
    facts = ("name", *keys, "exchanges", "array_bytes", "predicted_ms")
    rows = [
        {
            **{key: case[key] for key in facts},
            "repeats": repeats,
            "step_ms": found[place],
            "step_ms_ci95": [0.98 * found[place], 1.02 * found[place]],
            "speedup": 10 / found[place],
            "speedup_ci95": None if case["level"] == "one" else [9.5 / found[place], 10.5 / found[place]],
            "efficiency": 10 / found[place] / case["workers"],
            "communicate_ms": 0.1,
            "sent_bytes": 250_000.0,
            "peak_bytes": None,
            "oversubscribed": case["workers"] > 2,
        }
        for place, case in enumerate(cases)
    ]
    return {
        "schema": "manyhands.levels/1",
        "environment": environment("manyhands study levels"),
        "settings": {
            "data": data(),
            "networks": [[75], [64, 64]],
            "widths": [width for width, _, _ in times],
            "workers": [1, 2, 4],
            "crossing_workers": 2,
            "team": "threads",
            "repeats": repeats,
            "batch": 200,
            "network": {"optimizer": "adam", "dtype": "float32"},
        },
        "interrupted": False,
        "cases": cases,
        "chosen": [
            {"hidden": [75], "workers": 2, "grid": "data=2", "level": "exemplar"},
            {"hidden": [64, 64], "workers": 2, "grid": "data=1,node=2", "level": "node"},
            {"hidden": [75], "workers": 4, "grid": "data=2,node=2", "level": None},
        ],
        "model": [
            {"width": width, "level": level, "predicted_ms": ms}
            for width, exemplar in ((64, 1.0), (128, 2.0), (256, 4.0))
            for level, ms in (("one", 9.0), ("exemplar", exemplar), ("node", 2.0), ("pairs", 2.5))
        ],
        "runs": runs,
        "peaks": [],
        "summary": rows,
    }


EFFICIENCIES = {"gaussian-nb": 0.9, "lda": 0.8, "tree": 0.6, "forest": 0.5, "mlp": 0.6}


def classifiers(efficiencies=EFFICIENCIES, workers=(1, 2, 4), runs=3, spread=0.05):
    """A study of classifiers with these efficiencies, whose intervals reach so far, on a machine with two cores."""
    rows, theirs = [], []
    for place, (learner, efficiency) in enumerate(efficiencies.items()):
        for n in workers:
            speedup, accuracy = 1.0 if n == 1 else efficiency * n, 0.60 + 0.08 * place
            train_s = 10.0 ** (place - 3) / speedup
            several, half = n > 1, 0.0 if learner in ("gaussian-nb", "lda") else 0.01
            beside = {"delta_pp": 0.0, "delta_ci95": [-0.1, 0.1], "verdict": "same", "more_seeds": None}
            rows.append({
                "learner": learner,
                "workers": n,
                "runs": runs,
                "accuracy_mean": accuracy,
                "accuracy_ci95": [accuracy - half, accuracy + half],
                "compute_s": 0.9 * train_s,
                "train_s": train_s,
                "speedup": speedup,
                "speedup_ci95": [(1 - spread) * speedup, (1 + spread) * speedup] if several else None,
                "efficiency": speedup / n,
                "impact": 100 * accuracy / (0.9 * train_s),
                "impact_with_communication": 100 * accuracy / train_s,
                "rounds": (75 if learner == "mlp" else 1) if several else 0,
                "bytes_sent": 125_000 if several else 0,
                "oversubscribed": n > 2,
                "same_model": (learner != "mlp") if several else None,
                **(beside if several else {}),
                "sklearn_delta_pp": 0.1,
                "sklearn_delta_ci95": [0.05, 0.15],
                "sklearn_verdict": "same",
                "same_answers": learner == "gaussian-nb",
                "times_as_fast_as_sklearn": 2.0 * speedup,
            })  # fmt: skip
        theirs.append({
            "learner": learner, "runs": runs, "accuracy_mean": accuracy - 0.001, "accuracy_ci95": None,
            "fit_s": 10.0 ** (place - 2), "impact": 1.0,
        })  # fmt: skip
    made = [
        {"learner": row["learner"], "workers": row["workers"], "seed": seed, "accuracy": row["accuracy_mean"],
         "rounds": row["rounds"], "bytes_sent": row["bytes_sent"], "passes": 1, "model": 7, "answers": 8,
         "seconds": seconds(row["train_s"])}
        for seed in range(runs) for row in rows
    ]  # fmt: skip
    return {
        "schema": "manyhands.classifiers/1",
        "environment": environment("manyhands study classifiers"),
        "settings": {
            "data": data(), "learners": list(efficiencies), "workers": list(workers), "runs": runs, "margin": 0.25,
            "team": "threads", "stored": ["tree", "forest"], "reg_params": [], "classifiers": {},
        },
        "interrupted": False,
        "runs": made,
        "references": [
            {"learner": row["learner"], "seed": 0, "accuracy": 0.9, "fit_s": row["fit_s"], "answers": 8}
            for row in theirs
        ],
        "tried": [],
        "summary": rows,
        "theirs": theirs,
    }  # fmt: skip
