"""Layers of options, their errors, and what is never evaluated."""

import importlib.resources

import pytest
import yaml

from recbole_conrec.options.layers import lay
from recbole_conrec.runs import config as module
from recbole_conrec.runs.checks import check_data
from recbole_conrec.runs.config import make_config
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.yaml_files import parse_value, read_yaml


def test_later_layers_are_stronger(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"hidden_size": 32, "window": {"length": 9}, "epochs": 7}))
    config = make_config("SASRec", "ml-100k", [str(file)], {"epochs": 3})
    assert config["epochs"] == 3  # the command line over the file
    assert config["hidden_size"] == 32  # the file over RecBole's SASRec.yaml
    assert config["window"] == {"unit": "events", "length": 9}  # one key of the data set's mapping
    assert config["hidden_dropout_prob"] == 0.3  # our SASRec.yaml over RecBole's
    assert config["n_layers"] == 2  # RecBole's SASRec.yaml where nothing else sets it


def test_dots_reach_into_mappings_and_split_is_replaced_as_a_whole():
    below = {"split": {"by": "user", "ratio": [0.7, 0.1, 0.2]}, "window": {"unit": "days", "length": 7}}
    assert lay(below, {"window.length": 3})["window"] == {"unit": "days", "length": 3}
    assert lay(below, {"split": {"by": "time", "cuts": [1, 2]}})["split"] == {"by": "time", "cuts": [1, 2]}
    assert lay(below, {"split.by": "time"})["split"] == {"by": "time", "ratio": [0.7, 0.1, 0.2]}
    assert below["window"]["length"] == 7  # the lower layer is left alone


def test_stages_change_by_name():
    below = {
        "stages": [
            {"name": "a", "lr": 1},
            {"name": "g-1", "lr": 2, "window": {"unit": "days", "length": 3}},
            {"name": "g-2", "lr": 3},
        ]
    }
    assert lay(below, {"stages.g-1.lr": 9})["stages"][1] == {**below["stages"][1], "lr": 9}
    changed = lay(below, {"stages": {"g-*": {"beta": 0}, "g-2": {"lr": 7}, "a": None}})["stages"]
    assert changed == [{**below["stages"][1], "beta": 0}, {"name": "g-2", "lr": 7, "beta": 0}]
    assert lay(below, {"stages.g-1.window.length": 5, "stages": {"*": {"lr": 0}}})["stages"][1] == {
        "name": "g-1",
        "lr": 0,
        "window": {"unit": "days", "length": 5},
    }
    assert lay(below, {"stages": [{"name": "b"}]})["stages"] == [{"name": "b"}]
    assert below["stages"][1]["lr"] == 2  # the lower layer is left alone
    with pytest.raises(UserError, match="stages: there is no 'g-3'; did you mean .* there are a, g-1, g-2"):
        lay(below, {"stages.g-3.lr": 1})
    with pytest.raises(UserError, match="stages.a: 3 must be a mapping"):
        lay(below, {"stages.a": 3})


def test_stages_change_by_name_through_every_layer(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"stages": {"grpo-*": {"beta": 0.7, "G": 3}, "alignment": None}}))
    config = make_config("CoNRec", "ml-100k", [str(file)], {"stages.grpo-2.G": 5})
    stages = {stage["name"]: stage for stage in config["stages"]}
    assert list(stages) == ["translation", "warm-up", "grpo-1", "grpo-2", "grpo-3"]
    assert [stages[f"grpo-{n}"]["G"] for n in (1, 2, 3)] == [3, 5, 3] and stages["grpo-3"]["beta"] == 0.7


@pytest.mark.parametrize(
    "text, value",
    [
        ("3", 3),
        ("1e-3", 0.001),
        ("0.5", 0.5),
        ("[1, 2]", [1, 2]),
        ("None", None),
        ("True", True),
        ("a b", "a b"),
        ("{a: 1}", {"a": 1}),
        ("[", "["),
    ],
)
def test_values_of_the_command_line(text, value):
    assert parse_value(text) == value


def test_options_are_never_evaluated(tmp_path):
    trap = tmp_path / "trap"
    attack = f"__import__('pathlib').Path('{trap}').touch()"
    assert parse_value(attack) == attack
    with pytest.raises(UserError, match="hidden_act"):
        make_config("SASRec", "ml-100k", options={"hidden_act": attack})
    assert not trap.exists()
    file = tmp_path / "evil.yaml"
    file.write_text(f"epochs: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{trap}']]")
    with pytest.raises(UserError, match="not valid YAML"):
        make_config("SASRec", "ml-100k", [str(file)])
    assert not trap.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochz": 3}, "unknown option 'epochz'; did you mean 'epochs'"),
        ({"window.lenght": 3}, "window: unknown option 'lenght'; did you mean 'length'"),
        ({"swing": {"alpha": 3}}, "swing: unknown option 'alpha'"),
        ({"metrics": ["FHRR"]}, "FHRR"),
        ({"topk": [20, 5, 20]}, "topk: 20 is given twice"),
        ({"topk": []}, "topk: []; expected a list"),
        ({"user_inter_num_interval": "5+"}, "user_inter_num_interval: '5+'; expected an interval such as [5,inf)"),
        ({"item_inter_num_interval": "[9,2]"}, "item_inter_num_interval: '[9,2]'; expected an interval"),
        ({"val_interval": {"rating": "[1 4]"}}, "val_interval.rating: '[1 4]'; expected an interval"),
        ({"hidden_act": "gelou"}, "hidden_act: 'gelou'; expected one of gelu, relu, swish"),
        ({"loss_type": "XE"}, "loss_type: 'XE'; expected one of CE, BPR"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob: 1.5; expected a number of at least 0 and below 1"),
        ({"clip_grad_norm.max_nrm": 1}, "clip_grad_norm: unknown option 'max_nrm'; did you mean 'max_norm'"),
        (
            {"train_neg_sample_args.distribution": "uniform"},
            "loss_type CE compares with all items and samples none",
        ),
        (
            {"train_neg_sample_args.distribution": "unifrm"},
            "one of uniform, popularity; did you mean 'uniform'",
        ),
        ({"report_to": "tensorbord"}, "tensorboard, wandb, mlflow, codecarbon; did you mean 'tensorboard'"),
        ({"stages.grpo-1.lr": 1}, "option 'stages': SASRec has no stages"),
        ({"metrics": ["no_module:Metric"]}, "metrics: 'no_module:Metric': there is no module 'no_module'"),
        ({"load_col": {"item": "title"}}, "load_col.item: 'title'; expected * or a list"),
    ],
)
def test_mistakes_in_options_are_one_line(options, message):
    with pytest.raises(UserError) as error:
        make_config("SASRec", "ml-100k", options=options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_intervals_and_columns_as_recbole_takes_them():
    options = {
        "user_inter_num_interval": "[5,inf);(0, 2]",
        "load_col": {"item": "*"},
        "val_interval": {"rating": "[1,4]"},
    }
    assert make_config("Pop", "ml-100k", options=options)["load_col"] == {"item": "*"}


def test_unknown_model_and_files():
    with pytest.raises(UserError, match="did you mean 'SASRec'"):
        make_config("SASRek", "ml-100k")
    with pytest.raises(UserError, match="no such file"):
        make_config("SASRec", "ml-100k", ["absent.yaml"])
    with pytest.raises(UserError, match="no module 'absent'"):
        make_config("absent.module:Model", "ml-100k")
    with pytest.raises(UserError, match="no model"):
        make_config(None, "ml-100k")


def test_yaml_errors_name_the_line(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("a: 1\nb: [1,\nc: 2\n")
    with pytest.raises(UserError, match=r"bad.yaml, line \d"):
        make_config("SASRec", "ml-100k", [str(file)])
    file.write_text("- a\n- b\n")
    with pytest.raises(UserError, match="expected a mapping"):
        make_config("SASRec", "ml-100k", [str(file)])


def test_item_features_of_the_data_set_reach_the_models_that_need_one():
    assert make_config("FDSA", "ml-100k")["selected_features"] == ["class"]
    config = make_config("S3Rec", "ml-100k", options={"item_attribute": "release_year"})
    assert config["item_attribute"] == "release_year"


def test_every_shipped_yaml_is_a_mapping_of_known_options():
    folder = importlib.resources.files("recbole_conrec.properties")
    for kind in ("model", "dataset"):
        for file in (folder / kind).iterdir():
            if file.name.endswith(".yaml"):
                assert read_yaml(file), file


def test_gpus_are_those_of_the_scheduler(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")  # set here so that what RecBole writes there is undone
    monkeypatch.setattr(module, "VISIBLE_GPUS", "3,5")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert make_config("Pop", "ml-100k")["gpu_id"] == "3"  # one process takes the first of them
    assert make_config("Pop", "ml-100k", options={"gpu_id": "5"})["gpu_id"] == "5"
    assert make_config("Pop", "ml-100k", options={"use_gpu": False, "gpu_id": "5"})["gpu_id"] == ""
    monkeypatch.setenv("LOCAL_RANK", "1")  # as accelerate and torchrun do: each takes the one of its rank
    assert make_config("Pop", "ml-100k")["gpu_id"] == "3,5"
    monkeypatch.setattr(module, "VISIBLE_GPUS", None)
    monkeypatch.setattr(module.torch.cuda, "device_count", lambda: 2)
    assert make_config("Pop", "ml-100k")["gpu_id"] == "0,1"
    monkeypatch.delenv("LOCAL_RANK")
    assert make_config("Pop", "ml-100k")["gpu_id"] == "0"  # RecBole's default


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text, words",
    [
        ("epochs: 1\nseed: 2\nepochs: 3\n", "line 3: 'epochs' is given twice"),
        ("window: {unit: days, unit: events}\n", "'unit' is given twice"),
        ("a: &a [*a]\n", "refer to themselves"),
        ("a: &a {b: *a}\n", "refer to themselves"),
        (LAUGHS, "more than 100,000 values"),
        (
            LAUGHS.replace("[x, x, x, x, x, x, x, x, x]", "{x: 1}").replace(" [*", " {<<: [*").replace("]\n", "]}\n"),
            "more",
        ),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a: 2024-02-30\n", "day is out of range"),
        ("a: \x07\n", "special characters"),
    ],
)
def test_yaml_that_multiplies_or_contradicts_itself(text, words, tmp_path):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError, match=words) as error:
        read_yaml(tmp_path / "bad.yaml")
    assert "\n" not in str(error.value) and str(error.value).startswith(str(tmp_path / "bad.yaml"))


def test_anchors_that_are_used_again_are_fine():
    assert parse_value("{a: &x {b: 1}, c: {<<: *x, b: 2}, d: *x}") == {"a": {"b": 1}, "c": {"b": 2}, "d": {"b": 1}}
    assert parse_value("2024-02-30") == "2024-02-30"  # no date, therefore text


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, meant", [("sasrec", "SASRec"), ("gru4rec", "GRU4Rec"), ("lc-rec", "LCRec"), ("POP", "Pop")]
)
def test_models_in_other_capitals_are_the_same_run(name, meant):
    one, other = make_config(name, "ml-100k"), make_config(meant, "ml-100k")
    assert one["method"] == meant and one.final_config_dict.keys() == other.final_config_dict.keys()


def test_hints_do_not_mind_capitals(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="did you mean 'ml-100k'"):
        check_data(make_config("Pop", "ML-100K"))
