"""What all language models of the leaderboard share: training in stages; and for those that answer with semantic IDs
decoding and likelihoods.

A model of this family names its tasks (``TASKS``, see model/stages.py), builds a ``backbone`` and turns instances into
prompts; ``recommend`` and ``score_candidates`` follow. Only IDs of existing items can come out.
"""

from functools import cached_property

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.trainer import Trainer
from recbole.utils import InputType
from safetensors.torch import load_file, save_file

from recbole_conrec import tokenizer
from recbole_conrec.data.events import NEGATIVE, FeedbackStream
from recbole_conrec.evaluation import ranking
from recbole_conrec.evaluation.collector import outcomes
from recbole_conrec.generative.candidate_scores import read_ways, similarity, within
from recbole_conrec.generative.rewards import unit_vectors
from recbole_conrec.generative.stage import Task, check_stages, run_stage
from recbole_conrec.generative.stage_store import StageStore
from recbole_conrec.llm.decoding import beam_search, score, search_and_score
from recbole_conrec.runs.trainer import HarnessMixin
from recbole_conrec.utils.distributed import gather_by_id, my_batches, process_state, write_once
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.resources import peak_mb


class StagedRecommender(SequentialRecommender):
    """A language model that is trained in stages. A subclass sets ``TASKS``, calls :meth:`speak` with its backbone, and
    defines ``score_candidates``; one without ``recommend`` only ranks given candidates.

    Attributes:
        semantic_ids: the IDs of the catalogue.
        backbone, lm: the language model (transformers) with the IDs in its vocabulary.
    """

    input_type = InputType.POINTWISE  # RecBole asks; its data loaders bring no sampled items
    trainer = "recbole_conrec.generative.recommender:StagedTrainer"
    TASKS: dict[str, Task] = {}
    chunk = 128  # users that are decoded at a time

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        check_stages(config["stages"], self.TASKS, config)
        self.log = dataset.log
        with process_state().main_process_first():  # one makes the IDs, the others read them
            self.semantic_ids = tokenizer.build(config, dataset)

    def speak(self, backbone) -> None:
        self.backbone, self.lm = backbone, backbone.model

    @property
    def cut(self) -> int:
        """How many prompts have lost old events because they were too long."""
        return len(self.prompts.cut) if hasattr(self, "prompts") else 0

    def predict(self, interaction) -> torch.Tensor:
        """float [B]: log-likelihood of ``item_id`` (what RecBole's profiler calls)."""
        return self.score_candidates(interaction, interaction[self.ITEM_ID][:, None])[:, 0]

    def probe(self, data) -> dict[str, float]:
        """What else to measure after each stage, by name; data: the training part. Plain numbers, for the record."""
        return {}

    def told(self, interaction) -> tuple[np.ndarray, ...]:
        """What prompt builders want to know of a batch: history_begin, history_end, t0, user, each int64 [B]."""
        return tuple(interaction[f].cpu().numpy() for f in ("history_begin", "history_end", "t0", self.USER_ID))


class GenerativeRecommender(StagedRecommender):
    """Base class of models that answer with IDs. A subclass defines :meth:`prompt` besides.

    Attributes:
        trie: the IDs, on the model's device.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.normalise, self.beam, self.topk = config["normalise"], config["beam"], max(config["topk"])
        self.ways = read_ways(config["candidate_scores"])
        self.trie = self.semantic_ids.trie.to(config["device"])
        self._negatives = FeedbackStream(self.log, (NEGATIVE,))
        self._shared = self.trie.n_leaves < len(self.trie.leaf_items)  # collisions: shared

    def prompt(self, interaction) -> tuple[torch.Tensor, torch.Tensor]:
        """input_ids, attention_mask int64 [B, T] on the model's device, left-padded, after which an ID follows."""
        raise NotImplementedError

    @torch.no_grad()
    def recommend(self, interaction, k: int) -> torch.Tensor:
        """int64 [B, k] items, best first, 0 = missing; no item that the user already disliked."""
        disliked = self._disliked(interaction)
        leaves, _ = beam_search(self.backbone, self.trie, *self.prompt(interaction), **self._search(disliked, k))
        return expand(self.trie, leaves, disliked, k)

    @torch.no_grad()
    def recommend_and_score(self, interaction, items: torch.Tensor, k: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """``recommend``, and the scores of ``items`` [B, C] by each way of ``candidate_scores``, from one run of the
        prompts."""
        disliked, leaves = self._disliked(interaction), self.trie.item_leaf[items]
        found, levels = search_and_score(
            self.backbone, self.trie, *self.prompt(interaction), leaves, **self._search(disliked, k)
        )
        found = expand(self.trie, found, disliked, k)
        return found, [self._by(way, items, leaves, levels, found[:, : self.topk]) for way in self.ways]

    def score_candidates(self, interaction, items: torch.Tensor) -> torch.Tensor:
        """float [B, C]: how likely each candidate is, by the first of the option ``candidate_scores``."""
        return self.scores_by(self.ways[0], interaction, items)

    @torch.no_grad()
    def scores_by(self, way: str, interaction, items: torch.Tensor) -> torch.Tensor:
        """float [B, C] by one of candidate_scores.WAYS; -inf or any number for padding."""
        if way == "similarity":
            return self._by(way, items, None, None, self.recommend(interaction, self.topk))
        leaves = self.trie.item_leaf[items]
        levels = score(
            self.backbone,
            self.trie,
            *self.prompt(interaction),
            leaves,
            normalise=self.normalise,
            chunk=self.chunk,
            by_level=True,
        )
        return self._by(way, items, leaves, levels, None)

    def _by(self, way: str, items, leaves, levels, predicted) -> torch.Tensor:
        if way == "similarity":
            return similarity(items, predicted, self.vectors)
        return levels.sum(2) if way == "likelihood" else within(levels, self.trie.leaf_codes[leaves.clamp(min=0)])

    def _search(self, disliked: torch.Tensor, k: int) -> dict:
        """What every beam search here is given. With shared IDs, disliked items are left out afterwards."""
        return {
            "width": max(k, self.beam),
            "normalise": self.normalise,
            "chunk": self.chunk,
            "forbidden": None if self._shared else self.trie.item_leaf[disliked],
        }

    @cached_property
    def vectors(self) -> torch.Tensor:
        """float32 [n_items, dim], items rebuilt from their codes, of length 1, on the model's device."""
        return unit_vectors(self.semantic_ids).to(self.device)

    def _disliked(self, interaction) -> torch.Tensor:
        """int64 [B, M] items disliked before, padded with 0."""
        begin, end = (interaction[f].cpu().numpy() for f in ("history_begin", "history_end"))
        longest = max(int(self._negatives.count(begin, end).max(initial=1)), 1)
        rows, _ = self._negatives.last(begin, end, longest)
        return torch.from_numpy(np.where(rows >= 0, self.log.item[rows], 0)).to(self.device)


def expand(trie, leaves: torch.Tensor, disliked: torch.Tensor, k: int) -> torch.Tensor:
    """IDs [B, W] (-1: none) -> items [B, k], 0 = missing: the items of an ID stand in ascending order, and those in
    ``disliked`` [B, M] are left out before the cut at k."""
    known = leaves.clamp(min=0)
    size = (trie.leaf_ptr[known + 1] - trie.leaf_ptr[known]).masked_fill(leaves < 0, 0)
    end = size.cumsum(1)
    place = torch.arange(int(end[:, -1].max()), device=leaves.device).expand(len(leaves), -1).contiguous()
    beam = torch.searchsorted(end, place, right=True).clamp(max=leaves.shape[1] - 1)
    offset = place - (end - size).gather(1, beam)
    at = (trie.leaf_ptr[known].gather(1, beam) + offset).clamp(max=len(trie.leaf_items) - 1)
    items = trie.leaf_items[at].masked_fill(place >= end[:, -1:], 0)
    items = items.masked_fill((items[:, :, None] == disliked[:, None, :]).any(-1), 0)
    items = items.gather(1, (items == 0).int().argsort(dim=1, stable=True))[:, :k]
    return torch.nn.functional.pad(items, (0, k - items.shape[1]))


class StagedTrainer(HarnessMixin, Trainer):
    """Runs a model's stages one after the other; each leaves its entry in ``stages``.

    Finished stages are kept beside the runs, by content: a run that was interrupted finds them again, and runs that
    begin with the same stages share them.
    """

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        """Train. A stage that is already on disk is not run again."""
        score = self._score_of(valid_data)
        self.stages = []
        for number in range(len(self.config["stages"])):
            store = StageStore.of(self.config, self.model, train_data._dataset, number)
            with store.hold():
                entry = store.read()
                if entry is None:
                    before = self.stages[-1]["valid"] if self.stages else None
                    entry = run_stage(
                        self.model, train_data._dataset, self.config, number, store, score, show_progress, before
                    )
                    store.write(self._trained(), entry)
                else:
                    self.load(store.weights)
            self.stages.append(entry)
            self.best_valid_score = entry["valid"]
        self._save_checkpoint(len(self.stages))
        return self.best_valid_score, None

    @property
    def cost(self) -> dict:
        """What training took, over all attempts and whichever run did it."""
        return {
            "fit_s": sum(stage["seconds"] for stage in self.stages),
            "peak_mb": max(peak_mb(), *(stage["peak_mb"] for stage in self.stages)),
        }

    def evaluate(self, eval_data, *args, **kwargs):
        """As every row's; besides ``CandAcc.<way>`` for the ways to rank candidates after the first."""
        if hasattr(self.model, "prompts"):
            self.model.prompts.cut.clear()
        self._others = []
        result = super().evaluate(eval_data, *args, **kwargs)
        data, ways = getattr(eval_data, "_dataset", eval_data), getattr(self.model, "ways", ())[1:]
        if ways and data:
            truth = data.truth(data.split)
            ids = [n for batch in my_batches(len(data), self.config["eval_batch_size"]) for n in batch]
            nothing = torch.zeros(0, len(ways), truth.candidates.shape[1])
            _, scores = gather_by_id(torch.tensor(ids, dtype=torch.int64), torch.cat([nothing, *self._others]))
            for way, values in zip(ways, scores.numpy().swapaxes(0, 1), strict=True):
                self.outcomes[f"CandAcc.{way}"] = outcomes(truth, None, values, [])["CandAcc"]
        if self.model.cut:
            self.logger.warning(
                f"{self.model.cut} prompts were longer than {self.model.prompts.max_tokens} tokens and "
                "lost their oldest events; raise max_tokens or lower history"
            )
        return result

    def _rank(self, data, batch, truth, k: int):
        if not hasattr(self.model, "recommend_and_score"):
            return super()._rank(data, batch, truth, k)
        interaction = data[np.arange(batch.start, batch.stop)].to(self.device)
        candidates = torch.from_numpy(truth.candidates[batch.start : batch.stop]).to(self.device)
        items, (scores, *others) = self.model.recommend_and_score(interaction, candidates, k)
        ranking.check(self.model, interaction, candidates, k, items, scores, data)
        if others:
            self._others.append(torch.stack(others, 1).float().cpu())
        return items.cpu(), scores.float().cpu()

    def _trained(self) -> dict[str, torch.Tensor]:
        """The weights that training changes: all of a small model, the adapter of a large one."""
        parameters = self.model.lm.named_parameters()
        return {name: p.detach().cpu().contiguous().clone() for name, p in parameters if p.requires_grad}

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        self.saved_model_file = str(self.run_dir / "model.safetensors")
        write_once(self.saved_model_file, lambda path: save_file(self._trained(), path))

    def load(self, file) -> None:
        missing, unexpected = self.model.lm.load_state_dict(load_file(str(file)), strict=False)
        needed = {name for name, p in self.model.lm.named_parameters() if p.requires_grad}
        if unexpected or needed & set(missing):
            raise UserError(f"{file}: these weights are of another model; remove its folder to train anew")

    def _score_of(self, valid_data):
        """A function: `valid_metric` (HR@K, K the largest of ``topk``, or CandAcc) of the model as it stands, on a
        fixed sample of the validation instances."""
        k, metric = max(self.config["topk"]), self.config["valid_metric"].lower()
        if metric not in (f"hr@{k}", "candacc"):
            raise UserError(
                f"valid_metric: {self.config['row']} looks at HR@{k} or CandAcc while it trains, and "
                f"'{self.config['valid_metric']}' is asked for"
            )
        if metric != "candacc" and not hasattr(self.model, "recommend"):
            raise UserError(f"valid_metric: {self.config['row']} only ranks given candidates; give CandAcc")
        valid_data = getattr(valid_data, "_dataset", valid_data)  # stock RecBole passes a loader over it
        size = min(self.config["valid_sample"] or len(valid_data), len(valid_data))
        chosen = np.random.default_rng(self.config["seed"]).permutation(len(valid_data))[:size]
        truth = valid_data.truth() if metric == "candacc" else None

        def hits(ids) -> int:
            interaction = valid_data[ids].to(self.device)
            if truth is None:
                items = self.model.recommend(interaction, k)
                return int((items == interaction["item_id"][:, None]).any(dim=1).sum())
            candidates = torch.from_numpy(truth.candidates[ids]).to(self.device)
            scores = self.model.score_candidates(interaction, candidates).masked_fill(candidates == 0, -torch.inf)
            own = scores[candidates == interaction["item_id"][:, None]][:, None]
            return int(((scores >= own).sum(dim=1) == 1).sum())  # a tie is no hit

        def score_now() -> float:
            self.model.eval()
            batch = self.config["eval_batch_size"]
            return sum(hits(chosen[start : start + batch]) for start in range(0, size, batch)) / size

        return score_now
