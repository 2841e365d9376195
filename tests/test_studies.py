"""Studies: the runner on a study with a known answer, and every result in the package."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import mmbook.studies
from mmbook.studies import Interval, Study, available, crossing, interval, load

STUDIES = Path(__file__).parent.parent / "studies"
sys.path.insert(0, str(STUDIES))

import design as designs  # noqa: E402
import fingerprint as fingerprints  # noqa: E402
import runner  # noqa: E402
import trials  # noqa: E402
from design import Condition, Design  # noqa: E402

FILES = {file.stem: file for file in fingerprints.studies()}

# A study with a known answer: arm b is 3 better than a at rate 2, its best; the seed
# moves both alike, by its own number, and b by half of it more.
TOY = '''"""A toy."""
import json
from pathlib import Path

import torch
from runner import Condition, Design, Run, Trained, main

HERE = Path(__file__).parent
WORTH = {"a": 10.0, "b": 13.0}


def train(run):
    """Notes what ran; stops where it is told to."""
    log = HERE / "log.txt"
    lines = log.read_text().splitlines() if log.is_file() else []
    stop = HERE / "stop.txt"
    if stop.is_file() and len(lines) >= int(stop.read_text()):
        raise KeyboardInterrupt
    log.write_text("\\n".join([*lines, str(run)]) + "\\n")
    top = WORTH[run.arm] - abs(run["rate"] - 2) + run["bonus"]
    top += run.seed * (1.5 if run.arm == "b" else 1.0) + torch.rand(1).item() / 1e4
    curve = [(step, top * min(1, step / run["steps"])) for step in range(1, 41)]
    return Trained(curve, curve[-1][1], {"top": torch.tensor(top)})


def test_data():
    """The log must be complete by now."""
    with (HERE / "tested.txt").open("a") as file:
        file.write(str(len((HERE / "log.txt").read_text().splitlines())) + "\\n")
    return 100.0


def test(run, state, data):
    """What was learned, on another scale."""
    return {"accuracy": data + state["top"].item(), "words": ["a", "red", "circle"]}


DESIGN = Design(
    question="Is b better than a?",
    tries={arm: [{"rate": rate} for rate in (1.0, 2.0, 4.0)] for arm in "ab"},
    conditions=[
        Condition("short", {"bonus": 0.0, "steps": 10}),
        Condition("long", {"bonus": 0.0, "steps": 40}),
        Condition(
            "short, a helped",
            {"bonus": 9.0, "steps": 10},
            arms=("a",),
            like="short",
            asks="nine more for a",
        ),
    ],
    train=train,
    test_data=test_data,
    test=test,
)
'''


RUNS = 2 * 2 * (3 + 2 * 3) + 3  # searches, the two best with three seeds, the reversal


@pytest.fixture
def toy(tmp_path):
    """The toy study's file, in a folder of its own."""
    file = tmp_path / "toy.py"
    file.write_text(TOY, encoding="utf-8")
    return file


def run(file: Path, **options) -> dict:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return runner.execute(
        module.DESIGN, file, file.parent / "work", file.parent, **options
    )


def without_times(record: dict) -> dict:
    rows = {
        part: [{k: v for k, v in row.items() if k != "seconds"} for row in record[part]]
        for part in ("search", "runs")
    }
    made = {k: v for k, v in record["made"].items() if k not in ("seconds", "date")}
    return {**record, **rows, "made": made}


# ------------------------------------------------------------------------- intervals


def test_an_interval_of_known_numbers_is_the_one_computed_by_hand():
    # mean 2, standard deviation 1, t(2 degrees of freedom) = 4.303
    half = 4.303 / math.sqrt(3)
    assert interval([1, 2, 3]) == pytest.approx((2, 2 - half, 2 + half), abs=1e-9)


def test_an_interval_of_ten_numbers_uses_nine_degrees_of_freedom():
    found = interval(range(10))
    half = 2.262 * statistics.stdev(range(10)) / math.sqrt(10)
    assert found.high - found.mean == pytest.approx(half)


def test_the_sign_of_an_interval_is_zero_where_it_includes_zero():
    assert Interval(1, 0.1, 2).sign == 1
    assert Interval(-1, -2, -0.1).sign == -1
    assert Interval(1, -0.1, 2).sign == 0
    assert interval([0.0, 0.0, 0.0]).sign == 0


def test_one_value_has_no_interval():
    with pytest.raises(ValueError, match="two values or more; got 1"):
        interval([3.0])


def test_a_curve_crosses_a_value_halfway_on_the_logarithm_of_x():
    assert crossing([10, 1000], [0.0, 1.0], 0.5) == pytest.approx(100)
    assert crossing([10, 100, 1000], [5.0, 4.0, 8.0], 6.0) == pytest.approx(
        316.2, abs=1
    )
    assert crossing([10, 1000], [0.0, 1.0], 2.0) == math.inf
    assert crossing([10, 1000], [0.5, 1.0], 0.5) == 10


# ------------------------------------------------------------------------ the runner


def test_a_paired_difference_takes_away_what_the_seed_gives_to_both(toy):
    study = Study(run(toy))
    # 3, 3.5, 4: mean 3.5, standard deviation 0.5
    expected = (3.5, 3.5 - 4.303 * 0.5 / math.sqrt(3), 3.5 + 4.303 * 0.5 / math.sqrt(3))
    assert study.difference("b", "a", "short") == pytest.approx(expected, abs=1e-3)
    assert study.better("b", "a", "short") and not study.better("a", "b", "short")
    assert study.result("a", "short").mean == pytest.approx(111, abs=1e-3)


def test_every_arm_tries_as_much_and_the_best_setting_runs(toy):
    study = Study(run(toy))
    for arm in "ab":
        assert [s["rate"] for s, _ in study.search(arm, "long")] == [1.0, 2.0, 4.0]
        assert study.chosen(arm, "long") == {"rate": 2.0}
    log = (toy.parent / "log.txt").read_text().splitlines()
    assert len(log) == RUNS
    assert sum("seed 99" in line for line in log) == 2 * 2 * 3


def test_a_setting_that_was_lucky_with_one_seed_is_not_chosen(toy):
    lucky = "    top += 5 * (run.seed == 99 and run['rate'] == 1)\n    curve ="
    toy.write_text(TOY.replace("    curve =", lucky), encoding="utf-8")
    study = Study(run(toy))
    (setting, _), *_ = sorted(study.search("a", "short"), key=lambda pair: -pair[1])
    assert setting == {"rate": 1.0}
    assert study.chosen("a", "short") == {"rate": 2.0}


def test_the_smallest_is_chosen_where_less_is_better(toy):
    toy.write_text(TOY.replace("test=test,", "test=test, maximise=False,"))
    study = Study(run(toy))
    assert study.chosen("a", "short") == {"rate": 4.0}
    assert study.better("a", "b", "short")


def test_the_test_set_is_touched_once_and_only_after_all_training(toy):
    run(toy)
    runs = len((toy.parent / "log.txt").read_text().splitlines())
    assert (toy.parent / "tested.txt").read_text() == f"{runs}\n"


@pytest.mark.parametrize("stop", [2, 7, 26])
def test_a_study_that_was_killed_goes_on_and_gives_the_same(toy, tmp_path, stop):
    whole = run(toy)
    again = tmp_path / "again" / "toy.py"
    again.parent.mkdir()
    again.write_text(TOY, encoding="utf-8")
    (again.parent / "stop.txt").write_text(str(stop))
    with pytest.raises(KeyboardInterrupt):
        run(again)
    assert not (again.parent / "toy.json").exists()
    assert not (again.parent / "tested.txt").exists()
    (again.parent / "stop.txt").unlink()
    assert without_times(run(again)) == without_times(whole)
    log = (again.parent / "log.txt").read_text().splitlines()
    assert len(log) == len(set(log)) == RUNS  # nothing was trained twice


def test_a_record_that_was_half_written_is_not_a_finished_run(toy):
    whole = run(toy)
    for file in (toy.parent / "work").rglob("*.json"):
        file.rename(file.with_suffix(".half"))
    assert without_times(run(toy)) == without_times(whole)


def test_a_changed_study_does_not_take_up_old_trainings_but_more_seeds_do(toy):
    run(toy)
    log = toy.parent / "log.txt"
    toy.write_text(TOY.replace("test=test,", "test=test, seeds=(0, 1, 2, 3),"))
    study = Study(run(toy))
    assert len(study.values("a", "long")) == 4
    assert len(log.read_text().splitlines()) == RUNS + 9
    toy.write_text(TOY.replace('"a": 10.0', '"a": 20.0'))
    assert Study(run(toy)).better("a", "b", "short")
    assert len(log.read_text().splitlines()) == 2 * RUNS + 9


def test_a_curve_that_still_rises_is_not_flat(toy):
    study = Study(run(toy))
    assert study.flat("a", "short") and not study.flat("a", "long")
    steps, values = zip(*study.curves("a", "long")[0], strict=True)
    assert len(steps) == trials.POINTS and (steps[0], steps[-1]) == (1, 40)
    assert values[-1] == max(values)


def test_flat_means_no_gain_in_the_last_quarter_and_too_short_is_not_flat():
    rising = [(step, float(step)) for step in range(1, 101)]
    assert not trials.is_flat(rising, 1.0)
    assert trials.is_flat(rising, 30.0)
    assert trials.is_flat(rising, 1.0, maximise=False)
    assert not trials.is_flat([(1, 5.0), (2, 5.0), (3, 5.0)], 1.0)


def test_a_study_that_is_edited_while_it_runs_keeps_the_fingerprint_of_its_beginning(
    toy,
):
    toy.write_text(
        TOY.replace(
            "    return 100.0",
            "    (HERE / 'toy.py').write_text('DESIGN = 1')\n    return 100.0",
        )
    )
    before = fingerprints.source_hash(toy)
    assert run(toy)["rests_on"]["toy.py"] == before != fingerprints.source_hash(toy)


def test_a_reversal_compares_with_the_arm_that_did_not_change(toy):
    (found,) = Study(run(toy)).reversals("b", "a")
    assert found.asks == "nine more for a" and found.condition == "short"
    assert found.before.mean == pytest.approx(3.5, abs=1e-3)
    assert found.after.mean == pytest.approx(-5.5, abs=1e-3)
    assert found.verdicts == ("better", "worse") and not found.holds


def test_the_result_holds_hardware_versions_words_and_its_fingerprint(toy):
    record = run(toy)
    assert json.loads((toy.parent / "toy.json").read_text(encoding="utf-8")) == record
    assert record["runs"][0]["test"]["words"] == ["a", "red", "circle"]
    assert record["rests_on"]["toy.py"] == fingerprints.source_hash(toy)
    study = Study(record)
    assert "3 settings" in study.how and "no GPU" in study.how
    assert study.table()[0] == ["", "short", "long", "short, a helped"]
    assert study.table(["short"])[1][1] == str(study.result("a", "short"))


def test_a_result_is_up_to_date_until_the_study_changes(toy):
    assert runner.up_to_date(toy, toy.parent) is None
    record = run(toy)
    assert runner.up_to_date(toy, toy.parent) == record
    toy.write_text(TOY.replace("seed * (1.5", "seed * (1.6"))
    assert runner.up_to_date(toy, toy.parent) is None


def test_quick_writes_no_result_and_takes_two_tries_and_two_seeds(toy):
    record = run(toy, quick=True)
    assert len(record["search"]) == 2 * 2 * (2 + 2) and record["seeds"] == [0, 1]
    assert not (toy.parent / "toy.json").exists()


def test_a_try_that_diverges_is_not_chosen(toy):
    text = TOY.replace(
        "    top = WORTH",
        "    if run['rate'] == 2 and run.arm == 'a':\n"
        "        raise FloatingPointError('loss is nan')\n    top = WORTH",
    )
    toy.write_text(text, encoding="utf-8")
    study = Study(run(toy))
    assert study.chosen("a", "short") == {"rate": 1.0}
    assert ({"rate": 2.0}, None) in study.search("a", "short")


def test_a_result_that_is_too_large_for_the_package_is_an_error(toy):
    toy.write_text(TOY.replace('"red"', '"red" * 9999'), encoding="utf-8")
    with pytest.raises(ValueError, match="keep less"):
        run(toy)


@pytest.mark.slow
def test_the_command_line_prints_one_line_for_each_run(toy):
    toy.write_text(TOY + "\nmain(DESIGN, __file__)\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, toy.name, "--quick"],
        cwd=toy.parent,
        env={**os.environ, "PYTHONPATH": str(STUDIES)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("1 of 26: short · a · rate 1.0 · seed 99: 108")
    assert "to go" in lines[25] and "Is b better than a?" in lines[26]
    assert "\r" not in done.stdout
    assert "nine more for a: -5." in lines[-1] and lines[-1].endswith("worse")


# ------------------------------------------------------------------------ the design


def declared(**changes) -> Design:
    kept = {
        "question": "?",
        "tries": {arm: [{"rate": 1}, {"rate": 2}] for arm in "ab"},
        "conditions": [Condition("one")],
        "train": None,
        "test_data": None,
        "test": None,
    }
    return Design(**{**kept, **changes})


def test_an_arm_with_fewer_tries_is_refused():
    with pytest.raises(ValueError, match="as many tries"):
        declared(tries={"a": [{"rate": 1}, {"rate": 2}], "b": [{"rate": 1}]})
    with pytest.raises(ValueError, match="two or more"):
        declared(tries={"a": [{"rate": 1}], "b": [{"rate": 1}]})


def test_an_untrained_arm_needs_no_search():
    design = declared(
        tries={"a": [{"rate": 1}, {"rate": 2}], "majority": [{}]},
        untrained=("majority",),
    )
    assert design.arms_in(design.conditions[0]) == ["a", "majority"]


@pytest.mark.parametrize("seeds", [(0, 1), (0, 1, 1), (0, 1, 99)])
def test_fewer_than_three_seeds_or_the_seed_of_the_search_are_refused(seeds):
    with pytest.raises(ValueError, match="three different seeds"):
        declared(seeds=seeds)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (Condition("one"), "two conditions"),
        (Condition("two", arms=("c",)), "unknown arms"),
        (Condition("two", like="none", asks="more"), "must be an earlier"),
        (Condition("two", like="one"), "both like and asks"),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(extra, message):
    with pytest.raises(ValueError, match=message):
        declared(conditions=[Condition("one"), extra])


def test_a_reversal_can_not_have_an_arm_that_was_never_searched():
    base = Condition("one", arms=("a",))
    with pytest.raises(ValueError, match="has arms that"):
        declared(conditions=[base, Condition("two", like="one", asks="more")])


def test_a_run_finds_its_values_in_the_condition_first():
    condition = designs.Condition("one", {"rate": 5, "labels": 10})
    found = designs.Run("a", condition, {"rate": 1, "decay": 2}, seed=0)
    assert (found["rate"], found["labels"], found["decay"]) == (5, 10, 2)


# --------------------------------------------------------------------- fingerprints


def test_comments_docstrings_imports_and_layout_do_not_count(tmp_path):
    first, second = tmp_path / "a.py", tmp_path / "b.py"
    first.write_text(
        '"""One."""\nimport math\ndef f(x):\n    """Doc."""\n    return f"{x:.2f}", 1\n'
    )
    second.write_text(
        'def f( x ):\n    # why\n    return (f"{x:.2f}",\n            1)\n'
    )
    assert fingerprints.source_hash(first) == fingerprints.source_hash(second)
    second.write_text('def f(x):\n    return f"{x:.2f}", 2\n')
    assert fingerprints.source_hash(first) != fingerprints.source_hash(second)


def test_a_stale_result_is_recognised_by_what_it_rests_on(toy, monkeypatch):
    monkeypatch.setattr(fingerprints, "ROOT", toy.parent)
    helper, weights = toy.parent / "helper.py", toy.parent / "parts" / "weights"
    weights.parent.mkdir()
    helper.write_text("X = 1\n")
    weights.write_bytes(b"1")
    toy.write_text("import helper\n" + TOY)
    recorded = fingerprints.fingerprint(toy, ["parts/weights"])
    assert set(recorded) == {"toy.py", "helper.py", "parts/weights", "rules"}
    assert fingerprints.changed(toy, recorded) == []
    weights.write_bytes(b"2")
    assert fingerprints.changed(toy, recorded) == ["parts/weights"]
    helper.write_text("X = 2\n")
    assert fingerprints.changed(toy, recorded) == ["helper.py", "parts/weights"]
    weights.unlink()
    assert "parts/weights" in fingerprints.changed(toy, recorded)
    monkeypatch.setattr(fingerprints, "RULES", 0)
    assert "rules" in fingerprints.changed(toy, recorded)


# ---------------------------------------------------------------- results and studies


def test_every_result_has_its_study():
    assert set(available()) <= set(FILES)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_study_that_was_run_has_its_result_in_the_package(name):
    assert name in available(), f"not run yet: make study NAME={name}"
    assert load(name).record["question"]


def test_an_unknown_study_lists_the_ones_that_there_are():
    with pytest.raises(
        FileNotFoundError, match="|".join(["label_eficiency", *available()])
    ):
        load("label_eficiency")


@pytest.mark.parametrize("name", available())
def test_an_unknown_arm_or_condition_lists_the_ones_that_there_are(name):
    study = load(name)
    with pytest.raises(KeyError, match=re.escape(study.arms[0])):
        study.values("nobody", study.conditions[0])


@pytest.mark.parametrize("name", available())
def test_a_result_is_not_older_than_what_it_rests_on(name):
    stale = fingerprints.changed(FILES[name], load(name).record["rests_on"])
    assert not stale, f"run studies/{name}.py again: {', '.join(stale)} changed"


@pytest.mark.parametrize("name", available())
def test_in_a_result_all_arms_tried_as_much_with_three_seeds_or_more(name):
    record = load(name).record
    assert len(set(record["seeds"])) >= 3
    for condition in record["conditions"]:
        for arm in set(condition["arms"]) - set(record["untrained"]):
            rows = [
                row["setting"]
                for row in record["search"]
                if row["arm"] == arm
                and row["condition"] == (condition["like"] or condition["name"])
                and row["seed"] == record["search_seed"]
            ]
            assert rows == record["tries"][arm]
    counts = {
        len(tries)
        for arm, tries in record["tries"].items()
        if arm not in record["untrained"]
    }
    assert len(counts) <= 1 and all(n >= 2 for n in counts)  # or nothing is trained


@pytest.mark.parametrize("name", available())
def test_in_a_result_every_run_has_its_curve_and_test(name):
    study = load(name)
    for condition in study.record["conditions"]:
        for arm in condition["arms"]:
            for run in study.runs(arm, condition["name"]):
                assert study.metric in run["test"]
                assert len(run["curve"]) >= 4 or arm in study.record["untrained"]


@pytest.mark.parametrize("name", available())
def test_a_result_says_its_hardware_and_versions_and_is_small(name):
    made = load(name).record["made"]
    assert "CPU" in made["hardware"] and made["threads"] >= 1 and made["date"]
    assert all(word in made["versions"] for word in ("Python", "torch", "mmbook"))
    file = Path(mmbook.studies.__file__).parent / f"{name}.json"
    assert file.stat().st_size < runner.LARGEST


@pytest.mark.parametrize("name", available())
def test_a_result_asks_what_would_reverse_it(name):
    assert any(condition["like"] for condition in load(name).record["conditions"])
