"""RecBole's FEARec on histories that are slices of the log."""

import contextlib
import io

import numpy as np
from recbole.model.sequential_recommender import FEARec as StockFEARec


class FEARec(StockFEARec):
    """Frequency Enhanced Hybrid Attention Network (Du et al., SIGIR 2023). RecBole's class reads the histories of other
    training instances with the same target from a table, which is made here as it is read.
    """

    def __init__(self, config, dataset):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its frequencies
            super().__init__(config, dataset)
        self.dataset = _Histories(dataset)

    def get_same_item_index(self, dataset):
        """Training instances of each target item, ascending. (RecBole's takes quadratic time.)"""
        target = dataset.inter_feat[self.ITEM_ID].numpy()
        order = np.argsort(target, kind="stable")
        items, first = np.unique(target[order], return_index=True)
        return dict(zip(items.tolist(), np.split(order, first[1:]), strict=True))


class _Histories:
    """``inter_feat[field][n]`` of RecBole's data set: a field of training instance n."""

    def __init__(self, dataset):
        self.inter_feat = {
            field: _Column(dataset, field) for field in (dataset.item_id_list_field, dataset.item_list_length_field)
        }


class _Column:
    def __init__(self, dataset, field: str):
        self.dataset, self.field = dataset, field

    def __getitem__(self, number: int):
        return self.dataset[[int(number)]][self.field][0]
