"""Ridge regression of the next dislike on the history."""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from scipy import sparse
from tqdm import tqdm

from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE, Instances
from recbole_conrec.data.protocol import DataOptions
from recbole_conrec.dense.decayed import DecayedHistories, feature
from recbole_conrec.dense.fitted import FittedRecommender
from recbole_conrec.dense.ridge import fit, most_frequent, places
from recbole_conrec.dense.scores import target_scores
from recbole_conrec.options.schema import Count, NonNegative, Options, Positive

_BATCH = 1 << 15  # examples that are added to the equations at a time
_EVERY = (NEGATIVE, EXPOSURE, POSITIVE)


class RidgeRecOptions(Options):
    """Options of RidgeRec."""

    target: Literal["dislike", "event", "both"] = "both"
    """What is fitted: the next dislike, the next event of any kind times the item's share of dislikes, or both."""
    decay: Annotated[int | float, Field(gt=0, le=1)] = 0.9
    """Weight of an event of the history against that of the one after it; 1: all weigh the same."""
    l2: Positive = 3000
    """Weight of the penalty."""
    popularity: NonNegative = 0.01
    """Weight of popularity beside the fitted score; a small one orders what the history leaves level."""
    features: Count = 5000
    """Most frequent features that are kept; memory and time grow with their square and cube."""


class RidgeRec(FittedRecommender):
    r"""Ridge regression of what comes next on what came before, in closed form:

        x(u, t)     two features per item, disliked and liked; the event a events before the last one has decay^a
        W           argmin sum over training examples |x W - e_y|^2 + l2 |W|^2
        dislike     s_j = (x W)_j + popularity * N_j / sum N;                                     y is the next dislike
        event       s_j = ((x W)_j + popularity * E_j / sum E) * (N_j + 1) / (E_j + 2);  y is the next event of any kind
        both        the geometric mean of the two

    One example per training event (dislikes, or all), with the history strictly before its time; ``context`` and
    ``MAX_ITEM_LIST_LENGTH`` are read as by the sequential models. N_j and E_j are the dislikes and events of item j in
    training, or before t0 (option ``as_of``). Linear, without an embedding or a gradient: what a network must beat.

    With more than ``features`` features the rarest are left out: the equations have 4 features^2 bytes.
    """

    OPTIONS = RidgeRecOptions

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.options = options = RidgeRecOptions.of(config)
        self.log, self.side = dataset.log, dataset.side
        training = np.flatnonzero(dataset.train_mask)
        negative = training[self.log.feedback[training] == NEGATIVE]
        self.examples = {"dislike": negative, "event": training}
        if options.target != "both":
            self.examples = {options.target: self.examples[options.target]}
        kinds = DataOptions.of(config).kinds
        seen = training[np.isin(self.log.feedback[training], kinds)]
        n = self.log.n_items
        kept = most_frequent(np.bincount(feature(self.log, seen), minlength=2 * n), options.features)
        self.histories = DecayedHistories(self.log, kinds, self.max_seq_length, options.decay, places(kept, 2 * n))
        self.targets = {name: np.unique(self.log.item[rows]) for name, rows in self.examples.items()}
        shapes = {name: (self.histories.width, len(items)) for name, items in self.targets.items()}
        self.weights = torch.nn.ParameterDict({name: self.frozen(*shape) for name, shape in shapes.items()})

    def fit(self) -> None:
        for name, rows in self.examples.items():
            items, (width, size) = self.targets[name], self.weights[name].shape
            batches = self._batches(rows, places(items, self.log.n_items), size, name)
            found = fit(batches, width, size, self.options.l2)
            self.weights[name].copy_(torch.from_numpy(found))

    def _batches(self, rows: np.ndarray, place: np.ndarray, size: int, name: str):
        """The examples whose targets are these rows of the log: (x [N, features], y [N, size]) at a time."""
        bar = tqdm(total=len(rows), desc=f"ridge: {name}", unit="example", disable=not self.show_progress)
        for low in range(0, len(rows), _BATCH):
            part = Instances.of_rows(self.log, rows[low : low + _BATCH])
            y = (np.ones(len(part), dtype=np.float32), (np.arange(len(part)), place[part.item]))
            yield self.histories.before(part.begin, part.end), sparse.csr_matrix(y, shape=(len(part), size))
            bar.update(len(part))
        bar.close()

    def predict(self, interaction) -> torch.Tensor:
        return target_scores(self, interaction)

    def full_sort_predict(self, interaction) -> torch.Tensor:
        begin, end, t0 = (interaction[field].cpu().numpy() for field in ("history_begin", "history_end", "t0"))
        x = self.histories.before(begin, end)
        dislikes, events = (self.side.counts(kinds, t0) for kinds in ((NEGATIVE,), _EVERY))
        parts = []
        if "dislike" in self.weights:
            parts.append(self._linear(x, "dislike", dislikes))
        if "event" in self.weights:
            parts.append(self._linear(x, "event", events) * (dislikes + 1) / (events + 2))
        scores = parts[0] if len(parts) == 1 else np.sqrt(np.maximum(parts[0], 0) * np.maximum(parts[1], 0))
        return torch.from_numpy(scores.astype(np.float32)).to(self.device)

    def _linear(self, x: sparse.csr_matrix, name: str, counts: np.ndarray) -> np.ndarray:
        """The fitted scores and the popularity, float [N, n_items]; counts [N, n_items]."""
        popular = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        scores = self.options.popularity * popular
        scores[:, self.targets[name]] += x @ self.weights[name].cpu().numpy()
        return scores
