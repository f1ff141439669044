import io

from rich.console import Console

from recbole_conrec.evaluation.table import count, megabytes, render, seconds

SIZES = {"HR@20": 3496, "FHR@20": 3496, "FRecall@20": 3496, "LUF@20": 22, "LIF@20": 1203, "CandAcc": 3496}


def result(model="CoNRec", dataset="ml-100k", **changes):
    metrics = {name: {"value": 0.0853, "n": n} for name, n in SIZES.items()}
    metrics.update(changes)
    cost = {"fit_s": 383.2, "eval_s": 41.0, "peak_mb": 1812.0, "parameters": 1_234_567}
    return {"model": model, "dataset": dataset, "metrics": metrics, "cost": cost}


def lines(results, width=100):
    out = io.StringIO()
    Console(file=out, width=width).print(render(results))
    return out.getvalue().splitlines()


def test_one_row_has_every_figure_and_its_instances():
    text = lines([result()])
    assert text[0].split() == ["method", *SIZES, "fit", "eval", "peak", "params"]
    assert text[2].split() == ["ml-100k:", "n", "3,496", "3,496", "3,496", "22", "1,203", "3,496"]
    assert text[3].split() == [
        "CoNRec",
        ".0853",
        ".0853",
        ".0853",
        ".0853*",
        ".0853",
        ".0853",
        "6m23s",
        "41s",
        "1.8GB",
        "1.2M",
    ]
    assert text[4].strip() == "* fewer than 30 instances"


def test_piped_output_has_no_colour_and_fits():
    rows = [result(), result("LC-Rec (Neg. & Pos.)"), result("SASRec", "ml-1m-recent")]
    assert max(len(line.rstrip()) for line in lines(rows)) <= 100
    assert not any("\x1b" in line or "…" in line for line in lines(rows))


def test_what_a_model_can_not_fill_and_another_number_of_instances():
    odd = result("TALLRec", **{"HR@20": {"value": None, "n": 0}, "LIF@20": {"value": 0.5, "n": 40}})
    text = lines([result(), odd, result("Pop")])
    row = next(i for i, line in enumerate(text) if line.startswith("TALLRec"))
    assert text[row].split()[1] == "-"
    assert text[row + 1].split() == ["n=40"]


def test_several_k_take_a_row_each():
    row = result(**{"HR@5": {"value": 0.01, "n": 3496}})
    text = lines([row])
    assert text[0].split()[:3] == ["method", "K", "HR@K"]
    assert text[3].split()[:3] == ["CoNRec", "5", ".0100"]
    assert text[4].split()[:2] == ["20", ".0853"]


def test_units():
    assert [seconds(s) for s in (0.04, 9.96, 59.6, 65, 599.6, 725, 3570, 7620)] == [
        "0.0s",
        "10s",
        "1m00s",
        "1m05s",
        "10m",
        "12m",
        "1h00m",
        "2h07m",
    ]
    assert [megabytes(m) for m in (812, 3174.4)] == ["812MB", "3.1GB"]
    assert [count(c) for c in (950, 12_345, 14_800_000_000)] == ["950", "12.3k", "14.8B"]
