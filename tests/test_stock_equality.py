"""The harness changes the data, not the models: on stock RecBole's own task its figures are RecBole's, bit by bit.

The task is the next item, leave-one-out, with histories and evaluation as in RecBole's documentation of sequential
models. The data are the last 20 events of 60 users of ML-100K, so that `split: {by: user}` leaves exactly one event out
for the test and one for validation. Every event is a target but the first of a user, which has nothing before it: it is
"positive" and all others are "negative", and histories hold both. What must be switched, as it has no counterpart:

- lists leave out nothing (stock RecBole lists the items of a user's history, too);
- the prior of recent items and the scoring `contrast` are off (by options);
- BERT4Rec is validated after its last epoch: stock RecBole masks the histories of validation, too, never reads these
  masks, and so draws other masks in the epochs that follow a validation.

Stock RecBole is `objective_function`, its entry for tuning. `run_recbole` counts operations between making a model and
training it; for BERT4Rec that draws a mask, and so training differs from that of `objective_function`.
"""

from pathlib import Path

import pandas as pd
import pytest
import recbole
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed
from safetensors.torch import load_file

from recbole_conrec.data.exclusion import Exclusion
from recbole_conrec.runs.checkpoints import WEIGHTS
from recbole_conrec.runs.runner import run

USERS, EVENTS, EPOCHS = 60, 20, 2
METRICS = ["Recall", "MRR", "NDCG", "Hit"]
SHARED = {
    "seed": 7,
    "epochs": EPOCHS,
    "stopping_step": 10,
    "train_batch_size": 128,
    "eval_batch_size": 64,
    "learning_rate": 0.003,
    "topk": [5, 20],
    "metrics": METRICS,
    "valid_metric": "MRR@20",
    "metric_decimal_place": 15,
    "MAX_ITEM_LIST_LENGTH": 10,
    "train_neg_sample_args": None,
    "loss_type": "CE",
    "filter_inter_by_user_or_item": False,
    "show_progress": False,
    "gpu_id": "",
}
STOCK = {
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"},
    "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]},
}
OURS = {
    "feedback": {"negative": "place > 0", "positive": "place == 0"},
    "context": "both",
    "split": {"by": "user", "ratio": [0.9, 0.05, 0.05]},
    "present": {"use": "never"},
    "contrast_scoring": False,
    "item_category": "class",
}
TRANSFORMER = {"hidden_size": 16, "inner_size": 32, "hidden_dropout_prob": 0.3, "attn_dropout_prob": 0.3}
MODELS = {
    "SASRec": TRANSFORMER,
    "BERT4Rec": {**TRANSFORMER, "transform": "mask_itemseq", "mask_ratio": 0.3, "eval_step": EPOCHS},
    "Caser": {"embedding_size": 16, "nv": 4, "nh": 4},
    "FDSA": {**TRANSFORMER, "selected_features": ["class"]},
    "S3Rec": {**TRANSFORMER, "item_attribute": "class", "pretrain_epochs": 2, "save_step": 2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`data_path` of the data set `last20`, whose times are places in the log of one user after the other: no two are
    equal, and stock RecBole, which orders users by their earliest instance, has them in the order of their numbers.
    """
    source = Path(recbole.__file__).parent / "dataset_example" / "ml-100k" / "ml-100k"
    events = pd.read_csv(source.with_suffix(".inter"), sep="\t")
    events = events[events["user_id:token"] <= USERS]
    events = events.sort_values(["user_id:token", "timestamp:float"], kind="stable")
    events = events.groupby("user_id:token").tail(EVENTS).reset_index(drop=True)
    events["timestamp:float"] = range(len(events))
    events["place:float"] = events.groupby("user_id:token").cumcount()
    items = pd.read_csv(source.with_suffix(".item"), sep="\t")
    target = tmp_path_factory.mktemp("stock") / "last20"
    target.mkdir()
    events.to_csv(target / "last20.inter", sep="\t", index=False)
    known = items[items["item_id:token"].isin(events["item_id:token"])]
    known[["item_id:token", "class:token_seq"]].to_csv(target / "last20.item", sep="\t", index=False)
    return target.parent


def stock(name: str, options: dict) -> dict:
    """The steps of RecBole's `objective_function`, of S3Rec twice, as its documentation has it."""
    config = Config(model=name, dataset="last20", config_dict=options)
    init_seed(config["seed"], config["reproducibility"])
    train_data, valid_data, test_data = data_preparation(config, create_dataset(config))
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(name)(config, train_data._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], name)(config, model)
    best, _ = trainer.fit(train_data, valid_data, verbose=False)
    if options.get("train_stage") == "pretrain":
        return stock(name, {**options, "train_stage": "finetune", "pre_model_path": trainer.saved_model_file})
    figures = trainer.evaluate(test_data, load_best_model=True)
    return {
        "losses": trainer.train_loss_dict,
        "valid": best,
        "test": dict(figures),
        "weights": trainer.model.state_dict(),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_harness_on_the_task_of_stock_recbole_is_stock_recbole(name, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # RecBole's checkpoints are pickles, here our own
    options = {**SHARED, **MODELS[name], "data_path": str(folder)}
    first = {"train_stage": "pretrain"} if name == "S3Rec" else {}
    theirs = stock(name, {**options, **STOCK, **first, "checkpoint_dir": str(tmp_path / "stock")})

    nothing = torch.zeros(0, dtype=torch.int64).numpy()
    monkeypatch.setattr(Exclusion, "pairs", lambda self, begin, end: (nothing, nothing))
    options.pop("save_step", None)
    result = run(name, "last20", options={**options, **OURS})
    record = result.record

    instances = {"train": USERS * (EVENTS - 3), "valid": USERS, "test": USERS}
    assert record["instances"] == instances
    validated = [epoch for epoch in range(EPOCHS) if (epoch + 1) % options.get("eval_step", 1) == 0]
    assert {one["epoch"]: one["loss"] for one in record["curve"]} == {n: theirs["losses"][n] for n in validated}
    assert record["valid"] == {"MRR@20": theirs["valid"]} and theirs["valid"] > 0
    found = {key.lower(): figure["value"] for key, figure in record["metrics"].items()}
    assert {key: found[key] for key in theirs["test"]} == theirs["test"]
    assert len(theirs["test"]) == 2 * len(METRICS)
    weights = load_file(result.run_dir / WEIGHTS)
    assert set(weights) == set(theirs["weights"])
    assert all(torch.equal(weights[key], value) for key, value in theirs["weights"].items())
