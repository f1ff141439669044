"""The subcommands, as typed."""

import csv
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from recbole_conrec.cli import main
from recbole_conrec.filtering import NegativeFilter

ROWS = [
    {"user_id": "u1", "item_id": "i3", "note": "a, b"},
    {"user_id": "u1", "item_id": "i9", "note": "007"},
    {"user_id": "nobody", "item_id": "i9", "note": "x"},
    {"user_id": "u2", "item_id": "new", "note": "y"},
]


def write(file, rows):
    if file.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), file)
    elif file.suffix == ".csv":
        with open(file, "w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(file):
    if file.suffix == ".parquet":
        return parquet.read_table(file).to_pylist()
    if file.suffix == ".csv":
        with open(file, newline="") as stream:
            return [
                row | {"keep": row["keep"] == "true", "score": float(row["score"]) if row["score"] else None}
                for row in csv.DictReader(stream)
            ]
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("source", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("target", ["csv", "jsonl", "parquet"])
def test_rows_are_copied_with_keep_and_score(sets_folder, tmp_path, source, target, capsys):
    write(tmp_path / f"in.{source}", ROWS)
    command = ["filter", f"--sets={sets_folder}", f"--candidates={tmp_path / f'in.{source}'}", "--theta=0.5"]
    assert main([*command, f"--out={tmp_path / f'out.{target}'}"]) == 0
    printed = capsys.readouterr().out
    assert "4 candidates" in printed and "1 of unknown users (kept), 1 of unknown items (kept)" in printed
    found = read(tmp_path / f"out.{target}")
    keep, scores = NegativeFilter.load(sets_folder, theta=0.5).filter(
        [row["user_id"] for row in ROWS], [row["item_id"] for row in ROWS]
    )
    assert [{name: row[name] for name in ROWS[0]} for row in found] == ROWS
    assert [row["keep"] for row in found] == keep.tolist()
    assert [row["score"] for row in found][2:] == [None, None]
    assert [row["score"] for row in found][:2] == pytest.approx(scores[:2].tolist(), abs=1e-6)
    assert main([*command[:3], "--theta=-1", "--drop=True", f"--out={tmp_path / f'few.{target}'}"]) == 0
    assert [row["user_id"] for row in read(tmp_path / f"few.{target}")] == ["nobody", "u2"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_marks_and_blanks_are_no_part_of_an_id(sets_folder, tmp_path, kind, capsys):
    spaced = [{**row, "user_id": f" {row['user_id']}\t", "item_id": f"{row['item_id']} "} for row in ROWS]
    write(tmp_path / f"plain.{kind}", ROWS)
    write(tmp_path / f"spaced.{kind}", spaced)
    if kind != "parquet":
        file = tmp_path / f"spaced.{kind}"
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    found, printed = {}, {}
    for name in ("plain", "spaced"):
        out = tmp_path / f"{name}-out.{kind}"
        command = ["filter", f"--sets={sets_folder}", f"--candidates={tmp_path / f'{name}.{kind}'}", "--theta=0.5"]
        assert main([*command, f"--out={out}"]) == 0
        found[name], printed[name] = read(out), capsys.readouterr().out.replace(str(out), "")
    assert [row["keep"] for row in found["spaced"]] == [row["keep"] for row in found["plain"]]
    assert [row["user_id"] for row in found["spaced"]] == [row["user_id"] for row in spaced]  # copied as it was
    assert "unknown users: nobody\nunknown items: new" in printed["plain"] == printed["spaced"]


def test_blocks_join(sets_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_conrec.filtering.files.ROWS", 2)
    write(tmp_path / "in.jsonl", [*ROWS, {"item_id": "i4", "user_id": 7}])
    assert (
        main(
            [
                "filter",
                f"--sets={sets_folder}",
                f"--candidates={tmp_path / 'in.jsonl'}",
                "--theta=1",
                f"--out={tmp_path / 'out.jsonl'}",
            ]
        )
        == 0
    )
    assert [row["item_id"] for row in read(tmp_path / "out.jsonl")] == ["i3", "i9", "i9", "new", "i4"]


def test_new_items_of_an_item_file(sets_folder, tmp_path, capsys):
    write(tmp_path / "in.csv", ROWS)
    (tmp_path / "new.item").write_text(
        "item_id:token\ttitle:token_seq\tyear:token\tgenre:token_seq\n"
        "new\tHorror Night River\t1999\tHorror\ni3\tx\t1990\tDrama\n"
    )
    command = [
        "filter",
        f"--sets={sets_folder}",
        f"--candidates={tmp_path / 'in.csv'}",
        "--theta=-1",
        f"--out={tmp_path / 'out.csv'}",
        f"--new_items={tmp_path / 'new.item'}",
    ]
    assert main(command) == 0
    assert "1 new items" in (printed := capsys.readouterr().out) and "unknown items" not in printed
    assert [row["keep"] for row in read(tmp_path / "out.csv")] == [False, False, True, False]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"user_id,item_id\nu1,i1,extra\n", "cannot be read as CSV"),
        (b"user_id,item\nu1,i1\n", "no column 'item_id'"),
        (b"user_id,item_id\nu1,i1\nu1,\n", "row 2: 'item_id' is empty"),
        (b"user_id,item_id,keep\nu1,i1,x\n", "a column 'keep' already"),
        (b"user_id,item_id\n", "holds no rows"),
        (b"user_id,user_id,item_id\nu1,u1,i1\n", "2 columns 'user_id'"),
        (b"", "cannot be read as CSV"),
    ],
)
def test_mistakes_in_a_file_are_one_line(sets_folder, tmp_path, content, words, capsys):
    (tmp_path / "in.csv").write_bytes(content)
    assert (
        main(
            [
                "filter",
                f"--sets={sets_folder}",
                f"--candidates={tmp_path / 'in.csv'}",
                "--theta=0.5",
                f"--out={tmp_path / 'out.csv'}",
            ]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["in.csv"]  # nothing half written


@pytest.mark.parametrize(
    "rows, words",
    [
        (pa.table({"user_id": ["u1"], "item_id": ["i1"], "when": pa.array([0], pa.timestamp("s"))}), "do not fit into"),
        ([{"user_id": "u1", "item_id": 2**70}], "row 1: expected one JSON object"),
    ],
)
def test_values_that_do_not_fit_are_one_line(sets_folder, tmp_path, rows, words, capsys):
    source = tmp_path / ("in.jsonl" if isinstance(rows, list) else "in.parquet")
    parquet.write_table(rows, source) if source.suffix == ".parquet" else write(source, rows)
    assert (
        main(
            [
                "filter",
                f"--sets={sets_folder}",
                f"--candidates={source}",
                "--theta=0.5",
                f"--out={tmp_path / 'out.jsonl'}",
            ]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["filter", "--sets={sets}", "--candidates=absent.csv", "--out=o.csv"], "absent.csv: no such file"),
        (["filter", "--sets={sets}", "--candidates=a.xls", "--out=o.csv"], "ends in none of"),
        (["filter", "--sets={sets}", "--candidates=a.csv"], "filter.out is needed; expected text"),
        (["filter", "--sets={sets}", "--candidats=a.csv"], "did you mean 'candidates'"),
        (["filter", "--sets=nowhere", "--candidates=a.csv", "--out=o.csv"], "nowhere: no folder of Predict Sets"),
        (["filter", "--sets={sets}", "--candidates=a.csv", "--out=o.csv", "--theta=high"], "filter.theta: 'high'; exp"),
        (
            ["filter", "--sets={sets}", "--candidates=a.csv", "--out=o.csv", "--theta=7"],
            "filter.theta: 7; expected a number of at least -1 and at most 1 or null",
        ),
        (["filter", "--sets={sets}", "--candidates=a.csv", "--out=o.csv", "--theta=.nan"], "filter.theta: nan; exp"),
        (
            ["filter", "--sets={sets}", "--candidates=a.csv", "--out=o.csv", "--drop=1"],
            "filter.drop: 1; expected true or false",
        ),
        (
            ["filter", "--sets={sets}", "--candidates=a.csv", "--out=o.csv", "--config_files=a.yaml"],
            "takes no --config",
        ),
        (["filter", "--sets={sets}/manifest.json", "--candidates=a.csv", "--out=o.csv"], "Not a directory"),
        (["predict", "--run=nowhere", "--out=o"], "nowhere: no finished run"),
        (["predict", "--run={run}", "--out=o", "--at=later"], "predict.at: 'later' is none of end, test, v"),
        (
            ["predict", "--run={run}", "--out=o", "--size=0"],
            "predict.size: 0; expected a whole number of at least 1",
        ),
        (["predict", "--run={run}", "--out=o", "--part_users=2.5"], "predict.part_users: 2.5; expected a whole number"),
        (["predict", "--run={run}", "--out=o", "--lost=2"], "predict.lost: 2; expected a number of at least 0 and bel"),
        (["predict", "--run={run}", "--out=o", "--groups=3"], "predict: groups is for calibration"),
        (["predict", "--run={run}", "--out=o", "--sise=3"], "predict: unknown option 'sise'; did you mean 'size'"),
        (["predict", "--run={run}", "--out=o", "--gpu_di=0"], "unknown option 'gpu_di'; did you mean 'gpu_id'"),
        (["predict", "--run={run}", "--out=o", "--context=negative"], "'context' is decided by the run"),
        (["study", "filters"], "there is no 'filters'"),
        (["study", "filter"], "study filter.run is needed"),
        (["study", "filter", "--run={run}", "--shown=0"], "study filter.shown: 0; expected a whole number of at least"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(
    run_folder, sets_folder, tmp_path, monkeypatch, capsys, arguments, words
):
    monkeypatch.chdir(tmp_path)
    assert main([argument.format(sets=sets_folder, run=run_folder) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1
