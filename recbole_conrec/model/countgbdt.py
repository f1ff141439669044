"""Gradient boosting on counts."""

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from sklearn.ensemble import HistGradientBoostingClassifier
from tqdm import tqdm

from recbole_conrec.data.events import EXPOSURE, NEGATIVE, SECONDS_A_DAY, EventLog, FeedbackStream, Instances
from recbole_conrec.data.protocol import DataOptions
from recbole_conrec.data.side import SideInformation
from recbole_conrec.dense.pairs import PairFeatures, columns, first_times
from recbole_conrec.dense.untrained import UntrainedRecommender
from recbole_conrec.evaluation.ranking import excluded_pairs
from recbole_conrec.evaluation.topk import dense_topk
from recbole_conrec.options.schema import Count, Options, Positive
from recbole_conrec.runs.options import PlaceOptions
from recbole_conrec.utils.arrays import mix, uniform

_BATCH = 512  # instances whose features are computed at a time
_REFRESHES = 8  # computations of Swing while fitting


class CountGBDTOptions(Options):
    """Options of CountGBDT."""

    dislikes: Count = 10000
    """The latest training dislikes that it is fitted to; earlier ones have too little before them."""
    others: Count = 10
    """Items that each of them is contrasted with: half earlier exposures of the user, half of the cheap ranking."""
    days: Positive = 30
    """Length of the recent past."""
    trees: Count = 100
    """Number of trees."""
    leaves: Annotated[int, Field(ge=2)] = 4
    """Leaves of a tree, at most."""
    tree_rate: Positive = 0.1
    """How much each tree counts."""
    rerank: Count = 200
    """Items of the cheap ranking that the trees put in order for a list."""


class CountGBDT(UntrainedRecommender):
    r"""Boosted trees (scikit-learn's HistGradientBoostingClassifier) on what counts say of a user and an item:

        the item's share of all dislikes, likes and exposures, ever and lately; its share of dislikes, ever and lately;
        days since its first event; its Swing similarity to what the user disliked; the user's number of events, shares
        of dislikes and likes; the overlap of its categories with what the user disliked and liked (``item_category``)

    y = 1 for the latest ``dislikes`` of the training, each against ``others`` other items. Their features are read as
    of their own time (events strictly before it, Swing refreshed eight times), from training events alone; those of an
    evaluated instance follow the option ``as_of``. The user's own events are left out of the counts. No embedding, no
    sequence: what is above this is taste. It judges shown items and is meant for candidates.

    A list has the ``rerank`` items of the highest product of dislikes, recent dislikes and Swing, in the trees' order.
    The trees are not saved: they are fitted again, to the same, when a run is loaded.
    """

    OPTIONS = CountGBDTOptions

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.options, place = CountGBDTOptions.of(config), PlaceOptions.of(config)
        self.seed, self.show_progress = place.seed, place.show_progress
        self.log, self.side, self.exclusion = dataset.log, dataset.side, dataset.exclusion
        data = DataOptions.of(config)
        groups = dataset.item_category()[0] if data.item_category else None
        known = dataset.train_mask if dataset.side.as_of == "cut" else np.ones(len(self.log), dtype=bool)
        self.features = PairFeatures(self.log, known, self.options.days, groups)
        self.train_rows, self.swing_options = np.flatnonzero(dataset.train_mask), data.swing
        self.first = first_times(self.log, np.flatnonzero(known))
        self._trees: HistGradientBoostingClassifier | None = None

    # -- fitting -------------------------------------------------------------------------------------------------------
    @property
    def trees(self) -> HistGradientBoostingClassifier:
        """The fitted trees; fitted when they are first asked for."""
        if self._trees is None:
            options = self.options
            x, y = self.examples()
            self._trees = HistGradientBoostingClassifier(
                max_iter=options.trees,
                max_leaf_nodes=options.leaves,
                learning_rate=options.tree_rate,
                random_state=self.seed,
                early_stopping=False,
            ).fit(x, y)
        return self._trees

    def calculate_loss(self, interaction) -> torch.Tensor:
        self.trees  # noqa: B018  (fitted here, so that it counts as training)
        return super().calculate_loss(interaction)

    def examples(self) -> tuple[np.ndarray, np.ndarray]:
        """The pairs it is fitted to: (features float32 [M, features], labels bool [M])."""
        negative = self.train_rows[self.log.feedback[self.train_rows] == NEGATIVE]
        latest = np.sort(negative[np.argsort(self.log.time[negative], kind="stable")[-self.options.dislikes :]])
        fitted = Instances.of_rows(self.log, latest)
        side, first = self._training_side(fitted.time), first_times(self.log, self.train_rows)
        exposures = FeedbackStream(self.log, (EXPOSURE,))
        x, y = [], []
        bar = tqdm(total=len(fitted), desc="features", unit="dislike", disable=not self.show_progress)
        for low in range(0, len(fitted), _BATCH):
            part = fitted[low : low + _BATCH]
            features = self.features.of_all(side, first, part.begin, part.end, part.time)
            others = self._others(part, exposures, self._head(features, self._left_out(part)))
            items = np.column_stack([part.item, np.where(others == part.item[:, None], 0, others)])
            row, place = np.nonzero(items)
            x.append(columns(features, row, items[row, place]))
            y.append(place == 0)
            bar.update(len(part))
        bar.close()
        return np.concatenate(x), np.concatenate(y)

    def _training_side(self, times: np.ndarray) -> SideInformation:
        """What is known before each of these times in training: no other event is in its log."""
        log, rows = self.log, self.train_rows
        events = (log.user[rows], log.item[rows], log.time[rows], log.feedback[rows])
        training = EventLog.from_arrays(*events, log.n_users, log.n_items)
        start = int(times.min())
        refresh = max((int(times.max()) - start) / _REFRESHES / SECONDS_A_DAY, 1 / SECONDS_A_DAY)
        options = self.swing_options.model_copy(update={"refresh": refresh})
        return SideInformation(training, np.ones(len(rows), dtype=bool), start, "t0", options)

    def _others(self, part: Instances, exposures: FeedbackStream, head: torch.Tensor) -> np.ndarray:
        """Items of the contrast, int64 [N, others], 0 = none: the user's latest exposures, and items of the head."""
        shown = self.options.others // 2
        rows, _ = exposures.last(part.begin, part.end, shown)
        exposed = np.where(rows >= 0, self.log.item[rows], 0)
        draws = uniform(mix(self.seed, part.row[:, None], np.arange(self.options.others - shown, dtype=np.uint64)))
        ranked = np.take_along_axis(head.numpy(), (draws * head.shape[1]).astype(np.int64), axis=1)
        return np.column_stack([exposed, ranked])

    def _left_out(self, part: Instances) -> tuple[torch.Tensor, torch.Tensor]:
        row, item = self.exclusion.pairs(part.begin, part.end)
        return torch.from_numpy(row), torch.from_numpy(item)

    def _head(self, features: dict[str, np.ndarray], left_out: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """The first items of the cheap ranking: int64 [B, rerank], 0 = none."""
        cheap = features["-"] + features["recent -"] + np.log1p(features["swing"])
        return dense_topk(torch.from_numpy(cheap), min(self.options.rerank, self.n_items - 1), left_out)

    # -- answers -------------------------------------------------------------------------------------------------------
    def _scored(self, features: dict[str, np.ndarray], items: np.ndarray) -> np.ndarray:
        """The log-odds of the trees, float [B, C]; items int64 [B, C]."""
        row = np.repeat(np.arange(len(items)), items.shape[1])
        return self.trees.decision_function(columns(features, row, items.ravel())).reshape(items.shape)

    def _features(self, interaction) -> dict[str, np.ndarray]:
        begin, end, t0 = (interaction[field].cpu().numpy() for field in ("history_begin", "history_end", "t0"))
        return self.features.of_all(self.side, self.first, begin, end, t0)

    def score_candidates(self, interaction, items: torch.Tensor) -> torch.Tensor:
        """Float [B, C]: the log-odds of each candidate; items int64 [B, C]."""
        scores = self._scored(self._features(interaction), items.cpu().numpy())
        return torch.from_numpy(scores.astype(np.float32)).to(self.device)

    def predict(self, interaction) -> torch.Tensor:
        return self.score_candidates(interaction, interaction[self.ITEM_ID][:, None])[:, 0]

    def recommend(self, interaction, k: int) -> torch.Tensor:
        """Int64 [B, k]: the head of the cheap ranking in the order of the trees."""
        features, left_out = self._features(interaction), excluded_pairs(interaction, self.exclusion)
        head = self._head(features, (left_out[0].cpu(), left_out[1].cpu()))
        scores = torch.full((len(head), self.n_items), -torch.inf)
        scores.scatter_(1, head, torch.from_numpy(self._scored(features, head.numpy()).astype(np.float32)))
        return dense_topk(scores.to(self.device), k, left_out)
