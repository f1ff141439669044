"""What is searched: the shipped file, forms of a user's own, and RecBole's hyperopt files."""

import math

import pytest
import yaml

from recbole_conrec.options.search import OTHERS, Choice, Range, read_space, search_points, search_space
from recbole_conrec.registry import MODELS
from recbole_conrec.study.tuning import TuneOptions, _task, has_space
from recbole_conrec.utils.errors import UserError

RATE = {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}}


@pytest.mark.slow
def test_every_shipped_space_holds_the_methods_own_defaults(tiny_path):
    from recbole_conrec.options.search import _shipped

    for model in set(_shipped()) - {OTHERS}:
        options = {"data_path": str(tiny_path), "gpu_id": ""}
        task = _task(TuneOptions(model=model, dataset="tiny"), [], options)  # checks names and values of all defaults
        assert task.space == {o: d.holding(task.defaults[o], o) for o, d in search_space(model).items()}, model
        for option, dimension in search_space(model).items():
            if isinstance(dimension, Range):
                assert dimension.low <= task.defaults[option] <= dimension.high, (model, option)
                assert dimension.whole == isinstance(task.defaults[option], int) or not dimension.whole, (model, option)
            else:
                assert task.defaults[option] in dimension.values, (model, option)
        assert search_points(model) == 3


def test_methods_without_a_space_of_their_own():
    assert has_space("GRU4Rec", None, None) and search_points("GRU4Rec") == 0
    assert set(search_space("GRU4Rec", others=True)) == {"learning_rate", "MAX_ITEM_LIST_LENGTH"}
    assert not has_space("Pop", None, None) and not has_space("tests.mine:Model", "tinylog:OPTIONS", None)
    assert has_space("Pop", None, RATE)
    assert {name for name in ("SASRec", "CoNRec") if name in MODELS or has_space(name, None, None)} == {
        "SASRec",
        "CoNRec",
    }


def test_forms_of_a_space(tmp_path):
    file = tmp_path / "mine.yaml"
    expected = {"learning_rate": Range(low=0.001, high=0.1, log=True)}
    for content in (RATE, {"SASRec": RATE, "Caser": {"nh": [1]}}):
        file.write_text(yaml.safe_dump(content))
        assert search_space("SASRec", file) == expected
    assert search_space("SASRec", RATE) == expected
    found = read_space({"a": [1, 2], "b": {"low": 1, "high": 9, "step": 2}, "c": {"values": [[1], None]}}, "s")
    assert found == {"a": Choice(values=(1, 2)), "b": Range(low=1, high=9, step=2), "c": Choice(values=([1], None))}
    assert found["b"].whole and not expected["learning_rate"].whole


def test_recboles_hyperopt_files(tmp_path):
    file = tmp_path / "hyper.test"
    file.write_text(
        "# of RecBole\nlearning_rate loguniform -8,0\nembedding_size choice [64,96 , 128]\n\n"
        "dropout_prob uniform 0,1\nn_layers quniform 1, 7, 2\nmlp choice ['[64]', '[32,32]']\n"
    )
    found = search_space("SASRec", file)
    assert found["learning_rate"] == Range(low=math.exp(-8), high=1.0, log=True)
    assert found["embedding_size"] == Choice(values=(64, 96, 128)) and found["mlp"] == Choice(
        values=("[64]", "[32,32]")
    )
    assert found["dropout_prob"] == Range(low=0.0, high=1.0) and not found["dropout_prob"].whole
    assert found["n_layers"] == Range(low=1, high=7, step=2)
    file.write_text("learning_rate loguniform -8\n")
    with pytest.raises(UserError, match="line 1: 'learning_rate loguniform -8'; expected OPTION and choice"):
        search_space("SASRec", file)


def test_dimensions_are_stretched_to_a_default():
    assert Range(low=0.1, high=0.5).holding(0.9, "x") == Range(low=0.1, high=0.9)
    assert Choice(values=(1, 2)).holding(3, "x").values == (3, 1, 2)
    assert Choice(values=(1, 2)).holding(2, "x").values == (2, 1)
    assert Choice(values=(True,)).holding(1, "x").values == (1, True)
    for dimension, default in ((Range(low=1, high=9, step=2), 4), (Range(low=1, high=2, log=True), 0)):
        with pytest.raises(UserError, match="the default . is not in the range"):
            dimension.holding(default, "x")
    with pytest.raises(UserError, match="x: a range is for numbers, and the default is 'a'"):
        Range(low=1, high=2).holding("a", "x")


@pytest.mark.parametrize(
    "content, words",
    [
        ({"SASRec": RATE}, "there is no search for 'Caser'"),
        ({"SASRec": RATE, "Casar": RATE}, "did you mean 'Casar'"),
        ({"Caser": {"nh": 4}}, "Caser.nh: 4; expected {low, high}"),
        ({"Caser": {}}, "expected options and what is tried"),
        ({"Caser": {"nh": {"low": 4, "hihg": 8}}}, "unknown option 'hihg'; did you mean 'high'"),
        ({"Caser": {"nh": {"low": 4, "high": 2}}}, "low 4 is not below high 2"),
        ({"Caser": {"nh": {"low": 0, "high": 2, "log": True}}}, "log: true needs a low above 0"),
        ({"Caser": {"nh": {"values": []}}}, "Caser.nh.values"),
    ],
)
def test_mistakes_are_named(tmp_path, content, words):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=words):
        search_space("Caser", file)
