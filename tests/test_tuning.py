"""The search on the small log: every trial is a run up to its validation, which alone decides."""

import contextlib
import itertools
import json
import math
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import tinylog
import yaml

from recbole_conrec.cli import main
from recbole_conrec.runs.runner import run
from recbole_conrec.runs.validate import Validated, validate
from recbole_conrec.study import trials, tuning_report
from recbole_conrec.study.tuning import TuneOptions, tune
from recbole_conrec.utils.errors import UserError

SPACE = {"learning_rate": {"low": 1e-5, "high": 1.0, "log": True}, "nh": {"low": 2, "high": 9}, "nv": [4, 8]}


@pytest.fixture
def tiny(tiny_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {
        **tinylog.OPTIONS,
        "data_path": str(tiny_path),
        "gpu_id": "",
        "epochs": 2,
        "show_progress": False,
        "embedding_size": 16,
        "valid_metric": "HR@20",
        "contrast_scoring": False,
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(options))
    return options


@pytest.fixture
def figures(monkeypatch):
    """Function (f) that lets trials be f(options, listener) -> validation figure; returns all their options."""

    def use(figure):
        seen = []

        def known(model, dataset, files, options, listeners):
            seen.append({key: options[key] for key in SPACE if key in options})
            value = figure(seen[-1], lambda step, valid: listeners[0](step, {"valid/HR@20": valid}))
            return Validated("HR@20", value, 3, 1.0, 5, Path("there"))

        monkeypatch.setattr("recbole_conrec.study.trial.validate", known)
        return seen

    return use


def own(**options) -> TuneOptions:
    return TuneOptions(model="Caser", dataset="tiny", **{"space": SPACE, "storage": "trials.log", **options})


def hill(options, report=None) -> float:
    """Best at a rate of 0.1 and nh 7."""
    return 1 - abs(math.log10(options["learning_rate"]) + 1) / 5 - abs(options["nh"] - 7) / 50


@pytest.mark.slow
def test_defaults_come_first_and_validation_decides(tiny, figures):
    seen = figures(hill)
    found = tune(own(trials=18), options=tiny)
    assert seen[0] == {"learning_rate": 0.001, "nh": 8, "nv": 4}
    assert len(seen) == found.trials == 18 and found.pruned == found.failed == 0
    assert [point.valid for point in found.points] == sorted(map(hill, seen), reverse=True)
    assert found.points[0].options == max(seen, key=hill) and hill(found.points[0].options) > hill(seen[0])
    assert all(1e-5 <= one["learning_rate"] <= 1 and one["nh"] in range(2, 10) for one in seen)
    assert all(float(f"{one['learning_rate']:.3g}") == one["learning_rate"] for one in seen)
    # the later half, drawn by TPE, is better than the first, which is random
    assert sum(map(hill, seen[10:])) / 8 > sum(map(hill, seen[1:7])) / 6
    assert tune(own(trials=18), options=tiny).points == found.points and len(seen) == 18  # nothing is repeated
    assert tune(own(trials=20), options=tiny).trials == 20 and len(seen) == 20  # and a larger budget goes on
    assert tune(own(trials=2), options={**tiny, "seed": 3}).trials == 2  # another run is another search


@pytest.mark.slow
def test_the_same_seed_draws_the_same(tiny, figures):
    seen = figures(hill)
    tune(own(trials=8, storage="a.log"), options=tiny)
    tune(own(trials=4, storage="b.sqlite3"), options=tiny)
    tune(own(trials=8, storage="b.sqlite3"), options=tiny)  # resumed
    assert seen[:8] == seen[8:] and Path("a.log").exists() and Path("b.sqlite3").exists()


def test_a_smaller_metric_is_better(tiny, figures):
    seen = figures(lambda options, report: options["learning_rate"])
    found = tune(own(trials=6), options={**tiny, "valid_metric": "LikeHR@20", "metrics": ["LikeHR", "HR"]})
    assert found.points[0].valid == min(one["learning_rate"] for one in seen)


@pytest.mark.slow
def test_trials_are_pruned_by_their_curve(tiny, figures):
    looks = []

    def figure(options, report):
        good = options["learning_rate"] > 1e-3
        looks.append(0)
        for step in range(10):
            looks[-1] += 1
            report(step, 0.1 * step * good)
        return 0.9 * good

    seen = figures(figure)
    found = tune(own(trials=14, sampler="random"), options=tiny)
    assert found.pruned > 2 and found.trials == 14 and looks[0] == 10  # the default is never pruned
    for options, n in zip(seen, looks, strict=True):
        assert n == 10 or (options["learning_rate"] <= 1e-3 and trials.WARM_UP < n < 10)
    seen.clear()
    assert tune(own(trials=14, sampler="random", prune=False, storage="x.log"), options=tiny).pruned == 0


@pytest.mark.slow
def test_settings_that_fail_count_and_are_named(tiny, figures):
    def figure(options, report):
        if options["nv"] == 8:
            raise UserError("nv: 8 is too many")
        return math.nan if options["nh"] == 2 else 0.5

    figures(figure)
    found = tune(own(trials=12, sampler="random"), options=tiny)
    assert found.trials == 12 and found.failed > 2 and found.why in ("nv: 8 is too many", "no validation figure")
    assert all(point.options["nv"] == 4 for point in found.points)
    with pytest.raises(UserError, match="the default cannot be trained"):
        figures(lambda *_: (_ for _ in ()).throw(UserError("the default cannot be trained")))
        tune(own(trials=3, storage="other.log"), options=tiny)


def test_a_setting_that_is_drawn_again_is_not_trained_again(tiny, figures):
    seen = figures(lambda options, report: options["nv"] / 10)
    found = tune(own(trials=6, space={"nv": [4, 8]}), options=tiny)
    assert found.trials == 6 and len(seen) == 2 and {point.valid for point in found.points} == {0.4, 0.8}


def test_a_budget_of_minutes(tiny, figures):
    def figure(options, report):
        time.sleep(0.3)
        report(0, 0.5)
        return 0.5

    seen = figures(figure)
    found = tune(own(minutes=0.02, prune=False), options=tiny)  # 1.2 s; a trial counts 1.0 s
    assert len(seen) == 2 == found.trials and found.pruned == 1  # the second runs out of time


@pytest.mark.slow
def test_an_interrupted_trial_is_taken_again(tiny, figures):
    def stop(options, report):
        raise KeyboardInterrupt

    seen = figures(hill)
    tune(own(trials=3), options=tiny)
    interrupted = figures(stop)
    with pytest.raises(KeyboardInterrupt):
        tune(own(trials=5), options=tiny)
    after = figures(hill)
    found = tune(own(trials=5), options=tiny)
    assert after[0] == interrupted[0] and len(after) == 2 and found.trials == 5 and len(seen) == 3


def test_what_another_process_holds_is_left_to_it(tiny, figures):
    """Two processes, as two Trials on the same files: together they start as many as there may be."""
    space = {"nh": trials.Choice(values=(1, 2, 3))}

    def open_():
        return trials.Trials.open("s", "s.sqlite3", space, {"nh": 2}, Path("locks"), minimize=False, seed=1)

    first, second = open_(), open_()
    with first.take(2, math.inf) as one, second.take(2, math.inf) as two, first.take(2, math.inf) as three:
        assert (one.number, two.number, three) == (0, 1, None)
        assert first.options(one) == {"nh": 2}
    third = open_()  # both have ended without a word
    with third.take(2, math.inf) as again:
        assert again.number == 2 and third.options(again) == {"nh": 2}


def test_a_storage_that_fails_in_a_search_is_one_line(tiny, figures):
    def lose(*_):
        with contextlib.closing(sqlite3.connect("lost.sqlite3")) as database:
            database.execute("DROP TABLE trial_values")
        return 0.5

    figures(lose)
    with pytest.raises(UserError, match=r"^storage: lost.sqlite3 cannot be used \(.*no such table.*\); give another"):
        tune(own(trials=2, storage="lost.sqlite3"), options=tiny)


@pytest.mark.slow
def test_the_report(tiny, figures, tmp_path):
    figures(hill)
    found = replace(tune(own(trials=8), options=tiny), why="<script>x</script>")
    page = tuning_report.write(found, tmp_path / "out").read_text()
    assert page.count('class="plot"') >= 5 and "&lt;script&gt;x" in page and "<script>x" not in page
    assert "src=" not in page.split("<style>")[0] and page.count("plotly.js v") == 1
    assert tuning_report.command(found).startswith("--model=Caser --learning_rate=")
    few = tune(own(trials=1, storage="few.log"), options=tiny)
    assert "best of 1" in tuning_report.write(few, tmp_path / "out").read_text()


def test_an_option_that_is_given_is_where_the_search_starts(tiny, figures):
    seen = figures(lambda options, report: options["nh"])
    tune(own(trials=5, space={"nh": [2, 3]}), options={**tiny, "nh": 5})
    assert seen[0] == {"nh": 5} and {one["nh"] for one in seen} <= {2, 3, 5} and len(seen) > 1


@pytest.mark.parametrize(
    "space, words",
    [
        ({"nheads": [16]}, "unknown option 'nheads'"),
        ({"nh": {"low": "a", "high": 3}}, "space.nh.low: 'a'; expected a number"),
    ],
)
def test_mistakes_are_named(tiny, space, words):
    with pytest.raises(UserError, match=words):
        tune(own(space=space, trials=2), options=tiny)


def test_a_space_in_the_file_of_options(tiny, figures, tmp_path):
    seen = figures(lambda options, report: options["nh"])
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**tiny, "space": {"nh": [3]}}))
    found = tune(TuneOptions(model="Caser", dataset="tiny", trials=4, storage="s.log"), files=["mine.yaml"])
    assert {one["nh"] for one in seen} == {point.options["nh"] for point in found.points} >= {3}
    # as the file of a run its space has no effect
    from recbole_conrec.runs.config import make_config

    assert make_config("Caser", "tiny", ["mine.yaml"])["space"] is None


@pytest.mark.slow
def test_trials_are_runs_without_the_test(tiny, monkeypatch):
    with monkeypatch.context() as only:
        only.setattr("recbole_conrec.runs.trainer.HarnessMixin.calibrate", lambda *_: pytest.fail("after training"))
        only.setattr("recbole_conrec.runs.records.write", lambda *_: pytest.fail("a record"))
        found = tune(own(trials=3, space={"learning_rate": [1e-9, 0.01]}), options=tiny)
    best = found.points[0]
    assert found.metric == "HR@20" and best.valid == max(point.valid for point in found.points)
    assert best.epochs == 2 and best.parameters > 0 and best.fit_s > 0
    assert found.study.trials[0].intermediate_values.keys() == {0, 1}
    # the run goes on where the trial ended, and a later search reads its record
    monkeypatch.setattr("recbole.trainer.Trainer._train_epoch", lambda *_, **__: pytest.fail("trained again"))
    result = run("Caser", "tiny", options={**tiny, **best.options})
    assert result.run_dir == best.run_dir and result.record["valid"]["HR@20"] == best.valid
    looks = []
    read = validate("Caser", "tiny", (), {**tiny, **best.options}, [lambda step, values: looks.append(values)])
    assert replace(read, fit_s=best.fit_s).valid == best.valid and read.epochs == 2 and len(looks) == 2


@pytest.mark.slow
def test_command_line_and_processes(tiny, tmp_path, capsys):
    # the storage is the default one: SQLite
    words = ["tune", "--model=Caser", "--dataset=tiny", "--config_files=tiny.yaml", "--trials=4", "--jobs=2"]
    (tmp_path / "space.yaml").write_text("Caser: {learning_rate: {low: 0.001, high: 0.01, log: true}}")
    assert main([*words, "--space=space.yaml"]) == 0
    printed = capsys.readouterr().out
    assert "HR@20 (validation)" in printed and "* best of 4" in printed and "--model=Caser --learning_rate=" in printed
    study = optuna.load_study(study_name=None, storage="sqlite:///saved/tiny/searches.sqlite3")
    assert [one.number for one in study.trials] == [0, 1, 2, 3] and study.trials[0].params == {"learning_rate": 0.001}
    starts = [(one.datetime_start, one.datetime_complete) for one in study.trials]
    assert any(b[0] < a[1] for a, b in itertools.pairwise(starts))  # at the same time
    assert (tmp_path / "results" / "tune" / "Caser-tiny.html").stat().st_size > 1e6
    assert not list(tmp_path.glob("saved/tiny/*/result.json"))
    assert json.loads(study.trials[0].user_attrs["options"]) == {"learning_rate": 0.001}
    assert main(["tune", "--model=[Caser]", "--dataset=tiny"]) == 2
    assert "tune.model: ['Caser']; expected text or null" in capsys.readouterr().err
