"""Scores of single items out of scores of all."""

import torch


def target_scores(model, interaction) -> torch.Tensor:
    """Float [B]: the score of each instance's ``item_id``, out of ``full_sort_predict`` (what RecBole's profiler asks
    for).
    """
    return model.full_sort_predict(interaction).gather(1, interaction[model.ITEM_ID][:, None]).squeeze(1)
