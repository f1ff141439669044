"""NegativeFeedbackDataset: RecBole's atomic files as instances that all methods of the leaderboard share."""

import copy
import hashlib
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType

from recbole_conrec.data.candidates import CandidateLists, CandidateSources
from recbole_conrec.data.counts import training_dislikes
from recbole_conrec.data.event_dataset import EventDataset
from recbole_conrec.data.events import NEGATIVE, POSITIVE, FeedbackStream, Instances, RowStream, Window
from recbole_conrec.data.exclusion import Exclusion
from recbole_conrec.data.further import FurtherTruth
from recbole_conrec.data.side import SideInformation
from recbole_conrec.data.splits import PARTS, Cuts, first_dislikes, split_instances
from recbole_conrec.data.swing import Neighbours, swing_of
from recbole_conrec.data.truth import Truth, future_items, is_low_activity, long_tail_items
from recbole_conrec.utils.arrays import token_keys
from recbole_conrec.utils.errors import UserError

_LIST_FEEDBACK = "feedback_list"
MOST_CANDIDATES = 1000  # in a list on data of fewer items, where what is missing is padding


class NegativeFeedbackDataset(EventDataset):
    """All events once, histories as slices of them, cut into instances by the protocol of the YAML files.

    RecBole still filters and numbers users and items and prepares item features, so its own models work. Its splits
    (`eval_args.split`) and its copies of every history are not used, and `load_col.inter` is not needed: the ids, the
    time and the fields of the feedback rules are read.

    Attributes:
        log, protocol, options: of :class:`~recbole_conrec.data.event_dataset.EventDataset`.
        cuts: Cuts, when evaluation begins for each user.
        splits: {'train', 'valid', 'test'} -> Instances.
        train_mask: bool [E], the events strictly before their user's validation.
        exclusion: what lists leave out.
        first_dislike: bool [E], the negative events that are instances.
        repeats: number of negative events that are not, because the user had already disliked the item.
        split, instances: which part this object serves; training before `build`.
    """

    cuts: Cuts
    exclusion: Exclusion
    splits: dict[str, Instances]

    def __init__(self, config):
        self._shared: dict[Any, Any] = {}  # results that the copies of `build` share
        super().__init__(config)
        self._change_feat_format()
        self._set_list_fields()
        self._split()

    # ---- instances ----

    def _set_list_fields(self):
        self.item_id_list_field = self.iid_field + self.stock.LIST_SUFFIX
        for field, kind, length in (
            (self.item_id_list_field, FeatureType.TOKEN_SEQ, self.max_item_list_len),
            (self.item_list_length_field, FeatureType.TOKEN, 1),
        ):
            self.set_field_property(field, kind, FeatureSource.INTERACTION, length)

    def _split(self) -> None:
        rows = first_dislikes(self.log)
        self.repeats = int((self.log.feedback == NEGATIVE).sum()) - len(rows)
        self.first_dislike = np.zeros(len(self.log), dtype=bool)
        self.first_dislike[rows] = True
        self.cuts = self.protocol.split.cut(self.log, rows, self._known_before)
        self.splits = split_instances(self.log, rows, self.cuts)
        self.train_mask = self.log.time < self.cuts.valid_start[self.log.user]
        self.exclusion = Exclusion(self.log, self.protocol.exclude)
        self._history = FeedbackStream(self.log, self.options.kinds)
        self._serve("train")

    def _serve(self, split: str) -> None:
        self.split, self.instances = split, self.splits[split]
        ids = {self.uid_field: self.instances.user, self.iid_field: self.instances.item}
        self.inter_feat = Interaction({field: torch.from_numpy(values) for field, values in ids.items()})

    def build(self) -> list["NegativeFeedbackDataset"]:
        """Training, validation and test data: shallow copies that share the log. This object keeps serving training."""
        most = max(self.item_num - 1, MOST_CANDIDATES)
        if self.protocol.candidates.size > most:
            raise UserError(
                f"candidates: {self.protocol.candidates.size}; expected at most {most}: "
                f"the data set has {self.item_num - 1} items"
            )
        datasets = [copy.copy(self) for _ in PARTS]
        for dataset, split in zip(datasets, PARTS, strict=True):
            dataset._serve(split)
        return datasets

    def __len__(self) -> int:
        return len(self.instances)

    def __getitem__(self, index, join=False) -> Interaction:
        """The batch of some instances: index is an int, slice, list, array, tensor or mask over `instances`.

        Returns an Interaction of int64 fields, B instances: `user_id`, `item_id` (the target, not to be read when
        predicting), `item_id_list` [B, MAX_ITEM_LIST_LENGTH] (history of the kinds in `context`, oldest first,
        0-padded right), `item_length` (at least 1: an empty history is one padding item), `feedback_list`
        [B, MAX_ITEM_LIST_LENGTH] (-1, +1, 0 for padding), `instance_id`, `history_begin`, `history_end` (rows of
        `log`), `t0`. `join` is RecBole's and has no effect: models look item features up themselves.
        """
        chosen = np.arange(len(self.instances))[index.numpy() if isinstance(index, torch.Tensor) else index]
        chosen = np.atleast_1d(chosen)
        part = self.instances[chosen]
        rows, lengths = self._history.last(part.begin, part.end, self.max_item_list_len)
        shown = rows >= 0
        return Interaction(
            {
                name: torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))
                for name, values in {
                    self.uid_field: part.user,
                    self.iid_field: part.item,
                    self.item_id_list_field: np.where(shown, self.log.item[rows], 0),
                    self.item_list_length_field: np.maximum(lengths, 1),
                    _LIST_FEEDBACK: np.where(shown, self.log.feedback[rows], 0),
                    "instance_id": chosen,
                    "history_begin": part.begin,
                    "history_end": part.end,
                    "t0": part.time,
                }.items()
            }
        )

    # ---- truth and collaborative facts ----

    def future(
        self, instances: Instances, kinds: tuple[int, ...], window: Window | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The items that get feedback of these kinds in the window that opens at each t0.

        Items disliked before t0 do not count as negatives again. The window of an instance ends with its part (see
        truth.future_items), so training instances show nothing of the evaluation.

        Args:
            window: default: the protocol's.

        Returns CSR (ptr int64 [N + 1], items int64), each row sorted.
        """
        key = ("stream", kinds)
        if key not in self._shared:
            mask = np.isin(self.log.feedback, kinds) & ((self.log.feedback != NEGATIVE) | self.first_dislike)
            self._shared[key] = RowStream(mask)
        return future_items(self.log, self.cuts, window or self.protocol.window, instances, self._shared[key])

    def truth(self, split: str | None = None) -> Truth:
        """Ground truth of 'train', 'valid' or 'test' (default: this object's part), computed once."""
        split = split or self.split
        key = ("truth", split)
        if key not in self._shared:
            instances, protocol = self.splits[split], self.protocol
            f_ptr, f_items = self.future(instances, (NEGATIVE,))
            candidates = CandidateLists(
                self.candidate_sources(),
                instances,
                f_ptr,
                f_items,
                self.log.first_at_or_after(instances.user, self.cuts.part_end(instances.user, instances.time)),
                size=protocol.candidates.size,
                pool=protocol.candidates.pool,
                seed=protocol.candidate_seed,
            )
            self._shared[key] = Truth(
                next=instances.item,
                f_ptr=f_ptr,
                f_items=f_items,
                low_activity=is_low_activity(self.log, instances, protocol.low_activity),
                long_tail=long_tail_items(training_dislikes(self), protocol.long_tail),
                candidates=candidates,
                further=FurtherTruth(
                    self.future, self.candidate_sources(), instances, f_ptr, f_items, protocol.candidate_seed
                ),
            )
        return self._shared[key]

    def candidate_sources(self) -> CandidateSources:
        """What lists of candidates are drawn from, made once."""
        if "candidates" not in self._shared:
            popularity = np.bincount(self.log.item[self.train_mask], minlength=self.log.n_items)
            keys = (token_keys(self.field2id_token[field]) for field in (self.uid_field, self.iid_field))
            self._shared["candidates"] = CandidateSources(self.log, popularity, *keys)
        return self._shared["candidates"]

    def swing(self) -> Neighbours:
        """Swing neighbours over the training negatives, with the options of `swing`, computed once."""
        if "swing" not in self._shared:
            rows = self.train_mask & (self.log.feedback == NEGATIVE)
            self._shared["swing"] = swing_of(self.log, rows, self.options.swing)
        return self._shared["swing"]

    @property
    def side(self) -> SideInformation:
        """What methods may know of other users, by the option `as_of`."""
        if "side" not in self._shared:
            start = int(self.cuts.valid_start.min())
            self._shared["side"] = SideInformation(
                self.log, self.train_mask, start, self.protocol.as_of, self.options.swing
            )
        return self._shared["side"]

    # ---- items ----

    def item_text(self, fields: list[str] | None = None) -> list[str]:
        """The text of each item, by internal id: the values of `fields` joined by '. '.

        Args:
            fields: of the .item file; default: the option `item_text`, and all fields where that is null.

        Returns n_items strings, '' for padding, for items without text, and for every item without an .item file.
        """
        if self.item_words is None:
            return [""] * self.item_num
        return self.item_words.join(self.field2id_token[self.iid_field], fields or self.options.item_text)

    def need_texts(self, reader: str, instead: str) -> None:
        """Raise UserError without an .item file. ``reader``: what reads the texts; ``instead``: what to do."""
        if self.item_words is None:
            raise UserError(
                f"{self.dataset_name}.item: there is no such file, and {reader} reads the texts of items; "
                f"add the file, or {instead}"
            )

    def item_category(self, field: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The categories of each item by one token field (default: the option `item_category`).

        Returns (ids int64 [n_items, M], 0-padded, names [n_categories] with names[0] for padding). Raises UserError
        if there is no such field.
        """
        field = field or self.options.item_category
        if self.item_feat is None or field not in self.item_feat or field not in self.field2id_token:
            raise UserError(
                f"item_category: there is no field '{field}' of tokens in {self.dataset_name}.item; name one of its own"
            )
        ids = self.item_feat[field].numpy().reshape(self.item_num, -1).astype(np.int64)
        return ids, self.field2id_token[field]

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of the atomic files and of the options that define instances, truth and candidates.

        What a method sees (context, list length, texts) and training seeds are not in it: methods that differ in these
        can be compared.
        """
        return hashlib.sha256(f"{self.protocol.digest}{self.files_digest}".encode()).hexdigest()

    @property
    def training_fingerprint(self) -> str:
        """The same of what training reads: runs that differ in `as_of` alone share what they train."""
        return hashlib.sha256(f"{self.protocol.training_digest}{self.files_digest}".encode()).hexdigest()

    def __str__(self) -> str:
        kinds = {name: int((self.log.feedback == kind).sum()) for name, kind in (("-", NEGATIVE), ("+", POSITIVE))}
        parts = ", ".join(f"{name} {len(part)}" for name, part in self.splits.items())
        return (
            f"{self.dataset_name}: {self.user_num - 1} users, {self.item_num - 1} items, {len(self.log)} events "
            f"({kinds['-']} negative, {kinds['+']} positive); instances: {parts}; "
            f"{self.repeats} repeated dislikes left out"
        )
