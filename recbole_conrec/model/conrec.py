r"""CoNRec: a language model over semantic IDs, trained with progressive GRPO.

An item is an ID of a few codes, each one token. The model reads a user's history as IDs and answers with the ID of the
item that he will dislike next. Training goes through ``stages`` (see properties/model/CoNRec.yaml): supervised ones
(translation between IDs and titles, item-level alignment, next-negative prediction), then GRPO with growing context:

.. math::
    r(o) = \max_{i \in GTS} \cos(o, i) - \gamma \max_{t \in FPS} \cos(o, t), \quad
    A_i = (r_i - \mathrm{mean}\, r) / \mathrm{std}\, r

Reference: "CoNRec", arXiv 2601.15721; its authors released no code. What the paper leaves open is marked (ours).
"""

import json
import time
from pathlib import Path

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.trainer import Trainer
from recbole.utils import InputType
from safetensors.torch import load_file, save_file

from recbole_conrec import tokenizer
from recbole_conrec.data.events import NEGATIVE, FeedbackStream
from recbole_conrec.errors import UserError
from recbole_conrec.llm.backbone import load_backbone
from recbole_conrec.llm.decoding import beam_search, score
from recbole_conrec.llm.distributed import process_state
from recbole_conrec.llm.prompts import ALL_TEXT, PromptBuilder, context_of
from recbole_conrec.model.conrec_stages import check_stages, run_stage
from recbole_conrec.trainer import HarnessMixin, replace_file, write_json


class CoNRec(SequentialRecommender):
    """The model of one data set. Decoding is constrained: only IDs of existing items can come out."""

    input_type = InputType.POINTWISE  # RecBole asks; its data loaders bring no sampled items

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        check_stages(config["stages"], config)
        self.log, self.normalise = dataset.log, config["normalise"]
        with process_state().main_process_first():  # one makes the IDs, the others read them
            self.semantic_ids = tokenizer.build(config, dataset)
        texts = [*dataset.item_text()[1:], *ALL_TEXT]
        self.backbone = load_backbone(config["llm"], self.semantic_ids, texts, seed=config["seed"],
                                      device=config["device"], **(config["llm_options"] or {}))
        self.lm = self.backbone.model
        self.trie = self.semantic_ids.trie.to(config["device"])
        self.prompts = PromptBuilder(self.backbone, self.log, config["max_tokens"])
        self.context = context_of(config["context"], config["history"])
        self.beam = config["beam"]
        self._negatives = FeedbackStream(self.log, (NEGATIVE,))
        self._shared = self.trie.n_leaves < len(self.trie.leaf_items)  # collisions: shared

    @torch.no_grad()
    def recommend(self, interaction, k: int) -> torch.Tensor:
        """int64 [B, k] items, best first, 0 = missing; no item that the user already disliked."""
        disliked = self._disliked(interaction)
        forbidden = None if self._shared else self.trie.item_leaf[disliked]
        leaves, _ = beam_search(self.backbone, self.trie, *self._prompt(interaction), width=max(k, self.beam),
                                normalise=self.normalise, forbidden=forbidden, chunk=128)
        return expand(self.trie, leaves, disliked, k)

    @torch.no_grad()
    def score_candidates(self, interaction, items: torch.Tensor) -> torch.Tensor:
        """float [B, C]: log-likelihood of each candidate's ID after the shared prompt; -inf for padding."""
        leaves = self.trie.item_leaf[items]
        return score(self.backbone, self.trie, *self._prompt(interaction), leaves, normalise=self.normalise, chunk=128)

    def predict(self, interaction) -> torch.Tensor:
        """float [B]: log-likelihood of ``item_id`` (what RecBole's profiler calls)."""
        return self.score_candidates(interaction, interaction[self.ITEM_ID][:, None])[:, 0]

    def _prompt(self, interaction):
        columns = (interaction[f].cpu().numpy() for f in ("history_begin", "history_end", "t0"))
        ids, mask = self.prompts.history(*columns, self.context, interaction[self.USER_ID].cpu().numpy())
        return ids.to(self.device), mask.to(self.device)

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


class CoNRecTrainer(HarnessMixin, Trainer):
    """Runs the stages one after the other; each leaves its entry in ``stages`` and its weights on disk."""

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        """Train. A stage whose weights are on disk is not run again."""
        data = train_data._dataset
        self.stages = []
        for number, stage in enumerate(self.config["stages"]):
            file = self.run_dir / "stages" / f"{number}-{stage['name']}"
            entry = self._load_stage(file)
            if entry is None:
                started = time.perf_counter()
                score_now = self._score_of(valid_data)
                entry = run_stage(self.model, data, stage, self.config, self.run_dir, score_now, show_progress)
                entry |= {"name": stage["name"], "task": stage["task"], "seconds": time.perf_counter() - started,
                          "valid": score_now(), "semantic_ids": self.model.semantic_ids.fingerprint}
                self._save_stage(file, entry)
            self.stages.append(entry)
            self.best_valid_score = entry["valid"]
        self._save_checkpoint(len(self.stages))
        return self.best_valid_score, None

    def evaluate(self, *args, **kwargs):
        prompts = self.model.prompts
        prompts.cut = 0
        result = super().evaluate(*args, **kwargs)
        if prompts.cut:
            self.logger.warning(f"{prompts.cut} prompts were longer than {prompts.max_tokens} tokens and lost their "
                                "oldest events; raise max_tokens or lower history")
        return result

    def _save_stage(self, file, entry: dict) -> None:
        """Weights first, then the record: only a stage with both is finished."""
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(f"{file}.safetensors", lambda path: save_file(self._trained(), path))
        write_json(f"{file}.json", entry)

    def _load_stage(self, file) -> dict | None:
        if not Path(f"{file}.json").exists():
            return None
        entry = json.loads(Path(f"{file}.json").read_text())
        if entry["semantic_ids"] != self.model.semantic_ids.fingerprint:
            raise UserError(f"{file}.json: this stage was trained with other semantic IDs; remove {self.run_dir} to "
                            "train anew")
        self.load(f"{file}.safetensors")
        return entry

    def _trained(self) -> dict[str, torch.Tensor]:
        """The weights that training changes: all of a small model, the adapter of a large one."""
        parameters = self.model.lm.named_parameters()
        return {name: p.detach().cpu().contiguous().clone() for name, p in parameters if p.requires_grad}

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        self.saved_model_file = str(self.run_dir / "model.safetensors")
        replace_file(self.saved_model_file, lambda path: save_file(self._trained(), path))

    def load(self, file) -> None:
        missing, unexpected = self.model.lm.load_state_dict(load_file(str(file)), strict=False)
        needed = {name for name, p in self.model.lm.named_parameters() if p.requires_grad}
        if unexpected or needed & set(missing):
            raise UserError(f"{file}: these weights are of another model; remove {self.run_dir} to train anew")

    def _score_of(self, valid_data):
        """A function: HR@K, K the largest of ``topk``, of the model as it stands on a fixed sample of the validation
        instances."""
        if self.config["valid_metric"].lower() != f"hr@{max(self.config['topk'])}":
            raise UserError(f"valid_metric: CoNRec looks at HR@{max(self.config['topk'])} while it trains, and "
                            f"'{self.config['valid_metric']}' is asked for")
        valid_data = getattr(valid_data, "_dataset", valid_data)  # stock RecBole passes a loader over it
        size = min(self.config["valid_sample"] or len(valid_data), len(valid_data))
        chosen = np.random.default_rng(self.config["seed"]).permutation(len(valid_data))[:size]

        def score_now() -> float:
            hits, batch = 0, self.config["eval_batch_size"]
            self.model.eval()
            for start in range(0, size, batch):
                interaction = valid_data[chosen[start:start + batch]]
                items = self.model.recommend(interaction.to(self.device), max(self.config["topk"])).cpu()
                hits += int((items == interaction["item_id"].cpu()[:, None]).any(dim=1).sum())
            return hits / size

        return score_now
