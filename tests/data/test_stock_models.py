"""RecBole's own models take batches of our dataset through RecBole's own loaders."""

import numpy as np
import pytest
import torch
from recbole.data import data_preparation
from recbole.utils import get_model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SASRec", "BERT4Rec", "Caser", "FDSA", "S3Rec"])
@pytest.mark.parametrize("context", ["negative", "both"])
def test_a_stock_model_has_a_loss_and_scores(make_tiny, name, context):
    config, dataset = make_tiny(name, context=context, train_batch_size=64, eval_batch_size=32)
    train, _valid, test = data_preparation(config, dataset)
    torch.manual_seed(0)
    model = get_model(name)(config, train._dataset).to(config["device"])
    loss = model.calculate_loss(next(iter(train)))
    assert loss.isfinite() and loss > 0
    loss.backward()
    batch, _, row, positive = next(iter(test))
    model.eval()
    scores = model.full_sort_predict(batch).reshape(len(batch), -1)
    assert scores.isfinite().all() and scores.shape[1] >= dataset.item_num
    assert torch.equal(positive, batch["item_id"]) and torch.equal(row, torch.arange(len(batch)))


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_pairwise_losses_get_sampled_items(make_tiny, distribution):
    args = {"distribution": distribution, "sample_num": 1}
    config, dataset = make_tiny("SASRec", loss_type="BPR", train_neg_sample_args=args, train_batch_size=64)
    train, _, _ = data_preparation(config, dataset)
    batch = next(iter(train))
    assert (batch["neg_item_id"] != batch["item_id"]).all() and (batch["neg_item_id"] > 0).all()
    assert get_model("SASRec")(config, train._dataset).calculate_loss(batch).isfinite()


def test_sampled_evaluation_serves_every_instance_once(make_tiny):
    config, dataset = make_tiny("SASRec", eval_batch_size=200)
    # as stock RecBole makes it of `eval_args`, which a run refuses
    config["eval_args"]["mode"] = {"valid": "uni5", "test": "uni5"}
    config["test_neg_sample_args"] = config["valid_neg_sample_args"] = {"distribution": "uniform", "sample_num": 5}
    _, _, test = data_preparation(config, dataset)
    seen = []
    for batch, rows, _positive_user, positive_item in test:
        assert len(batch) == 6 * len(positive_item) == len(rows)
        true = batch["item_id"] == dataset.log.item[dataset.splits["test"].row[batch["instance_id"]]]
        seen += batch["instance_id"][true].tolist()
    assert set(seen) == set(range(len(dataset.splits["test"])))


def test_an_epoch_serves_every_training_instance_once_in_another_order(make_tiny):
    config, dataset = make_tiny("SASRec", train_batch_size=100)
    train, _, _ = data_preparation(config, dataset)
    ids = np.concatenate([batch["instance_id"].numpy() for batch in train])
    assert sorted(ids) == list(range(len(train._dataset))) and (np.diff(ids) != 1).any()


def test_recbole_can_count_flops_before_build(make_tiny):
    _, dataset = make_tiny()
    batch = dataset[torch.tensor([1])]
    assert batch["item_id"].tolist() == [dataset.splits["train"].item[1]]
    assert len(dataset) == len(dataset.splits["train"])
