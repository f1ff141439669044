"""The filter that runs where requests are served: arrays on disk and NumPy, no model.

A candidate c of user u is dropped if it is too similar to an item that u is predicted to dislike:

    max over i in the Predict Set of u:  cos(c, i) > theta,   both embeddings rebuilt from the codebooks.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from recbole_conrec.filtering import folder as layout
from recbole_conrec.filtering.ids import Ids, mapped
from recbole_conrec.utils.arrays import unit_rows
from recbole_conrec.utils.errors import UserError

BLOCK = 4_000_000  # most floats in memory at a time: vectors of candidates, vectors of sets, and their cosines
DIGITS = 6  # decimals of a score; further ones depend on how many candidates are scored at once


class PredictSets:
    """Each user's set of items, and the similarity of other items to it.

    Args:
        vectors: float32 [n_items, dim] of unit length, or zero, which has cosine 0 with everything.
        ptr: int64 [n_users + 1]; the set of user u is ``rows[ptr[u]:ptr[u + 1]]``.
        rows: int32 [ptr[-1]], rows of ``vectors``.
        size: only the first ``size`` items of a set are compared; None: all.
    """

    def __init__(self, vectors: np.ndarray, ptr: np.ndarray, rows: np.ndarray, size: int | None = None):
        self.vectors, self.ptr, self.rows, self.size = vectors, ptr, rows, size

    def cut(self, size: int | None) -> PredictSets:
        """The same sets, limited to their first ``size`` items; None: to no limit."""
        return PredictSets(self.vectors, self.ptr, self.rows, size)

    def scores(self, users: np.ndarray, items: np.ndarray, extra: np.ndarray | None = None) -> np.ndarray:
        """The highest cosine of each item with its user's set.

        Args:
            users: int64 [B], rows; -1: unknown.
            items: int64 [B, C], rows; -1: unknown.
            extra: float32 [m, dim], the vectors of items n_items..n_items + m - 1.

        Returns:
            float32 [B, C], rounded to 6 digits; NaN for an unknown user or item, and for an empty set.
        """
        users, items = np.asarray(users), np.asarray(items)
        out = np.empty(items.shape, dtype=np.float32)
        known = np.maximum(users, 0)
        begin = np.asarray(self.ptr[known])
        length = np.where(users < 0, 0, np.asarray(self.ptr[known + 1]) - begin)
        length = length if self.size is None else np.minimum(length, self.size)
        longest, wide, dim = int(length.max(initial=0)), items.shape[1], self.vectors.shape[1]
        if longest == 0:
            return np.full(items.shape, np.nan, dtype=np.float32)
        step = max(1, BLOCK // max(longest * dim, wide * dim, longest * wide, 1))
        for first in range(0, len(users), step):
            part = slice(first, first + step)
            column = np.arange(longest)
            # a shorter set repeats its first item, which does not change the maximum
            at = begin[part, None] + np.where(column < length[part, None], column, 0)
            disliked = self.vectors[self.rows[np.minimum(at, len(self.rows) - 1)]]
            candidates = self._vectors(items[part], extra)
            out[part] = (disliked @ candidates.transpose(0, 2, 1)).max(axis=1)
        np.clip(np.round(out, DIGITS, out=out), -1, 1, out=out)
        out[items < 0] = np.nan
        out[length == 0] = np.nan
        return out

    def pair_scores(self, users: np.ndarray, items: np.ndarray, extra: np.ndarray | None = None) -> np.ndarray:
        """As :meth:`scores`, of pairs: users int64 [N], items int64 [N] -> float32 [N]."""
        order = np.argsort(users, kind="stable")
        owner, start, count = np.unique(users[order], return_index=True, return_counts=True)
        scores = np.empty(len(users), dtype=np.float32)
        by_size = np.argsort(count, kind="stable")  # so that users with equally many pairs share a block
        for part in np.split(by_size, np.arange(256, len(by_size), 256)):
            column = np.arange(int(count[part].max(initial=0)))
            there = column < count[part, None]
            at = order[start[part, None] + np.where(there, column, 0)]
            scores[at[there]] = self.scores(owner[part], items[at], extra)[there]
        return scores

    def _vectors(self, rows: np.ndarray, extra: np.ndarray | None) -> np.ndarray:
        vectors = self.vectors[np.clip(rows, 0, len(self.vectors) - 1)]
        if extra is not None and len(extra):
            late = rows >= len(self.vectors)
            vectors[late] = extra[rows[late] - len(self.vectors)]
        return vectors


class NegativeFilter:
    """Decides which candidates a user should not be shown. Made by :meth:`load`; any number of threads may share one.

    Attributes:
        manifest: what was predicted, for which data, by which run (see docs/filtering.md).
        theta: float32 [G], one threshold per group of users; None: there is none.
        bounds: int64 [G - 1], the activities at which the next group begins.
        sets: PredictSets.
        users, items: ids of the rows of ``sets``.
        activity: int32 [n_users], likes and dislikes of each user before the sets were made.
    """

    def __init__(
        self,
        folder: Path,
        manifest: dict,
        sets: PredictSets,
        users: Ids,
        items: Ids,
        activity: np.ndarray,
        theta: float | None = None,
        size: int | None = None,
    ):
        if theta is None and manifest["theta"] is not None:
            calibrated = manifest["theta"]
            values, bounds, best_size = calibrated["values"], calibrated["bounds"], calibrated["size"]
        else:
            values, bounds, best_size = None if theta is None else [theta], [], None
        self.folder, self.manifest, self.users, self.items = folder, manifest, users, items
        self.sets = sets.cut(best_size if size is None else size)
        self.activity = activity
        self.theta = None if values is None else np.array(values, dtype=np.float32)
        self.bounds = np.array(bounds, dtype=np.int64)
        self._extra: tuple[Ids, np.ndarray] | None = None  # replaced as a whole, never changed: threads may be reading
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(("requests", "candidates", "dropped", "unknown_users", "unknown_items"), 0)

    @classmethod
    def load(
        cls, folder, *, theta: float | None = None, size: int | None = None, verify: bool = True
    ) -> NegativeFilter:
        """Open a folder that ``recbole-conrec predict`` wrote. Arrays are memory-mapped: only pages in use are loaded.

        Args:
            theta: threshold (a cosine, -1 to 1) instead of the calibrated one, with whole sets.
            size: compare only the first ``size`` items of a set.
            verify: compare the sha256 of every file with the manifest; False: compare only their sizes.

        Raises UserError for an incomplete folder, or naming the files that are damaged.
        """
        folder = Path(folder)
        manifest = layout.read_manifest(folder)
        layout.check(folder, manifest, read=verify)
        index = folder / layout.INDEX
        arrays = {name: mapped(index / f"{name}.npy") for name in ("vectors", "ptr", "rows", "activity")}
        sets = PredictSets(arrays["vectors"], arrays["ptr"], arrays["rows"])
        return cls(
            folder, manifest, sets, Ids.load(index, "user"), Ids.load(index, "item"), arrays["activity"], theta, size
        )

    def filter(self, user_ids, candidate_item_ids, theta: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Which candidates to keep.

        Args:
            user_ids, candidate_item_ids: ids as in the data files (texts or whole numbers): one user and [C] items,
                users [B] and items [B, C], or pairs of users [N] and items [N].
            theta: threshold instead of the filter's own.

        Returns:
            keep: bool, of the candidates' shape. Unknown users and items are kept, and counted in :meth:`counts`.
            scores: float32, the highest cosine with the user's Predict Set; NaN for an unknown user or item, or an
                empty set.

        Raises UserError for shapes that do not fit, or if there is no threshold.
        """
        users, items = self.users.rows(user_ids, "user"), self.item_rows(candidate_item_ids)
        if users.ndim == 0 and items.ndim == 1:
            scores = self.sets.scores(users[None], items[None], self._vectors())[0]
        elif users.ndim == 1 and items.ndim == 2 and len(users) == len(items):
            scores = self.sets.scores(users, items, self._vectors())
        elif users.ndim == 1 and users.shape == items.shape:
            scores = self.sets.pair_scores(users, items, self._vectors())
        else:
            raise UserError(
                f"filter: users of shape {users.shape} and candidates of shape {items.shape}; expected one "
                "user and [C], [B] and [B, C], or pairs [N] and [N]"
            )
        limit = self.thresholds(users) if theta is None else np.full(users.shape, theta, dtype=np.float32)
        keep = ~(scores > (limit[:, None] if items.ndim == 2 else limit))
        with self._lock:
            self._counts["requests"] += 1
            self._counts["candidates"] += keep.size
            self._counts["dropped"] += int((~keep).sum())
            self._counts["unknown_users"] += int((users < 0).sum())
            self._counts["unknown_items"] += int((items < 0).sum())
        return keep, scores

    def thresholds(self, users: np.ndarray) -> np.ndarray:
        """The threshold of each user (rows, of any shape): float32 of that shape. UserError if there is none."""
        if self.theta is None:
            raise UserError(
                f"{self.folder}: theta was not calibrated; run `recbole-conrec predict` with --lost=0.05 or "
                "--rate=0.1, or give --theta=NUMBER"
            )
        if not len(self.bounds):
            return np.broadcast_to(self.theta[0], users.shape)
        return self.theta[np.searchsorted(self.bounds, self.activity[np.maximum(users, 0)], side="right")]

    def counts(self) -> dict[str, int]:
        """What this object has filtered so far: requests, candidates, dropped, unknown_users, unknown_items."""
        with self._lock:
            return dict(self._counts)

    def item_rows(self, item_ids) -> np.ndarray:
        """The rows of items, added ones included: int64 of the ids' shape, -1 for an unknown one."""
        rows = self.items.rows(item_ids, "item")
        extra = self._extra
        if extra is not None and (rows < 0).any():
            late = extra[0].rows(item_ids, "item")
            rows = np.where((rows < 0) & (late >= 0), late + len(self.items), rows)
        return rows

    def add_items(self, item_ids, texts: list[str] | None = None, vectors: np.ndarray | None = None) -> int:
        """Add new items to this object, without the model. The folder stays unchanged.

        Each gets the semantic ID nearest to its vector, even if another item has it, and the embedding of that ID.

        Args:
            item_ids: [m]; those already known stay as they are.
            texts: [m], in the form of the catalogue: the fields ``manifest['tokenizer']['fields']`` joined by '. '.
            vectors: float [m, dim] in the codebooks' space, instead of texts.

        Returns the number of items that are new. Raises UserError if the semantic IDs were saved without their encoder.
        """
        from recbole_conrec.tokenizer import Items, SemanticIds
        from recbole_conrec.tokenizer.quantise import decode

        item_ids = [str(i) for i in item_ids]
        given = [one for one in (texts, vectors) if one is not None]
        if len(given) != 1 or len(given[0]) != len(item_ids):
            raise UserError(f"add_items: give one text or one vector for each of the {len(item_ids)} items")
        semantic_ids = SemanticIds.load(self.folder / layout.TOKENIZER)
        if semantic_ids.fingerprint != self.manifest["tokenizer"]["fingerprint"]:
            raise UserError(f"{self.folder / layout.TOKENIZER}: not the tokenizer of these sets; {layout.REMEDY}")
        if vectors is None:
            vectors = semantic_ids.vectors(Items(texts=list(texts or ()), ids=item_ids))
        rebuilt = unit_rows(decode(semantic_ids.encode(vectors), semantic_ids.codebooks))
        with self._lock:
            new = np.flatnonzero(self.item_rows(item_ids) < 0)
            if len(new):
                names, added = [item_ids[n] for n in new], rebuilt[new]
                if self._extra is not None:
                    names = [*(token.decode() for token in self._extra[0].tokens), *names]
                    added = np.concatenate([self._extra[1], added])
                self._extra = Ids.of(names, "item"), added
        return len(new)

    def _vectors(self) -> np.ndarray | None:
        extra = self._extra
        return None if extra is None else extra[1]
