"""LlamaRec: a small sequential model finds 20 items, and a language model that reads their titles puts them in order.

Each of the 20 titles has a letter, and the model answers with one letter: one forward pass orders them all, by the
log-probabilities of the letters. Places of a list from the 21st on remain as the retriever has them. Given candidates
(CandAcc) are judged one by one, each in a prompt that names it among the retriever's first 19: a prompt with all
candidates would hold items that the user met after t0. The score is the log-probability of its letter.

Reference: Yue et al., "LlamaRec: Two-Stage Recommendation using Large Language Models for Ranking", PGAI@CIKM 2023,
arXiv 2311.02089; code Yueeeeeeee/LlamaRec. Departures:

- The retriever is RecBole's SASRec on next dislikes; the paper's is LRURec. With ``context: both`` it reads likes, too,
  and one learned vector separates disliked items in a history from liked ones (ours).
- The prompt asks for the item that will be disliked; its history has a list of titles for each kind of feedback.
- Training lists hold the target and 19 random items, as in the public code, or with ``against: retrieved`` (ours) 19 of
  those that the retriever ranks highest. The order in a prompt is a hash of seed, user, time and item; the public code
  shows retrieved items in the retriever's order, and counts only users whose target is among them.
- Letters are compared with each other alone; the paper takes their probabilities over the whole vocabulary, which has
  the same order.
- The paper tunes Llama 2 7B by QLoRA (r 8, alpha 32, on q and v, lr 1e-4). Here ``llm:`` names the backbone; the
  default is the embedded one, with all weights trained.
- ``present`` adds its prior to the retriever's scores alone: it decides what is retrieved, not the order of the 20.
"""

from string import ascii_uppercase
from types import SimpleNamespace
from typing import ClassVar, Literal

import numpy as np
import torch
from recbole.model.sequential_recommender import SASRec
from torch import nn

from recbole_conrec.dense.likes import SignedEmbedding
from recbole_conrec.evaluation.ranking import excluded_pairs
from recbole_conrec.evaluation.topk import dense_topk
from recbole_conrec.generative.best_weights import BestWeights
from recbole_conrec.generative.method_options import LanguageModelOptions
from recbole_conrec.generative.prompts import Prompts
from recbole_conrec.generative.rivals import Columns, judge
from recbole_conrec.generative.stage import StageRun, Task, TrainingSet
from recbole_conrec.generative.stage_options import SFTStage, StageOptions
from recbole_conrec.generative.tasks import asked
from recbole_conrec.generative.text_prompts import ANSWER, OPINION, PREFERENCE, SEPARATOR, TextPrompts
from recbole_conrec.generative.text_recommender import TextRecommender
from recbole_conrec.llm.decoding import answer_logps
from recbole_conrec.options.schema import Count, NonNegative
from recbole_conrec.utils.arrays import mix
from recbole_conrec.utils.errors import UserError

LETTERS = tuple(f" {letter}" for letter in ascii_uppercase)
POOL = " Which of these will they dislike next? Answer with its letter."
RETRIEVED = 20  # items that the language model orders
LOG_EVERY = 50  # steps


class LetterPrompts(TextPrompts):
    """Histories of titles, and a list of titles each after a letter.

    letters: int64 [26], the tokens of the letters.
    """

    def __init__(self, backbone, log, max_tokens: int, titles: list[str]):
        super().__init__(backbone, log, max_tokens, titles)
        encoded = [self.encode(letter) for letter in LETTERS]
        self.letters = np.array([tokens[-1] for tokens in encoded])
        if len(set(self.letters.tolist())) < len(LETTERS) or len({tuple(tokens[:-1]) for tokens in encoded}) > 1:
            raise UserError("llm: two letters of the alphabet have the same token; name another model")
        self.before_letter = encoded[0][:-1]  # of tokenizers that have the space as a token of its own

    def lettered(self, begin, end, t0, users, context, candidates: np.ndarray, seed: int) -> tuple[Prompts, np.ndarray]:
        """Prompts of N instances that name the candidates [N, C], C <= 26, 0: none; and each one's place, int64 [N, C],
        whose letter it has: the order is a hash of seed, user, t0 and item.
        """
        users, t0 = np.asarray(users), np.asarray(t0)
        order = np.argsort(mix(seed, users[:, None], t0[:, None], candidates), axis=1, kind="stable")
        named = np.take_along_axis(candidates, order, axis=1)
        letter = np.where(named > 0, self.letters[: named.shape[1]], -1)[..., None]
        before = np.where(named[..., None] > 0, np.array(self.before_letter, dtype=np.int64), -1)
        pool = np.concatenate([before, letter, self._separated(named)], axis=2).reshape(len(named), -1)
        asking, answer = (np.tile(self.encode(text), (len(named), 1)) for text in (POOL, ANSWER))
        answer = np.concatenate([answer, np.tile(self.before_letter, (len(named), 1))], axis=1)
        task = np.concatenate([asking, pool, answer], axis=1).astype(np.int64)
        room = self.max_tokens - (task >= 0).sum(axis=1, keepdims=True) - 1
        prompts = self._by_kind(begin, end, t0, users, context, OPINION, self.open(PREFERENCE), task, room)
        return prompts, np.argsort(order, axis=1)


class Retriever(SASRec):
    """RecBole's SASRec over a history whose disliked items are marked where it holds likes, too."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.signed = len(dataset.options.kinds) > 1
        if self.signed:
            self.item_embedding = SignedEmbedding(self.n_items, self.hidden_size)
            self.item_embedding.apply(self._init_weights)

    def logits(self, interaction) -> torch.Tensor:
        """Float [B, n_items]."""
        sign = interaction["feedback_list"] if self.signed else 1
        encoded = self.forward(interaction[self.ITEM_SEQ] * sign, interaction[self.ITEM_SEQ_LEN])
        return encoded @ self.item_embedding.weight.T


# -- stages ----------------------------------------------------------------------------------------------------------
class RetrieverStage(StageOptions):
    """Options of the task ``retriever``."""

    epochs: Count = 20
    """Passes over the training instances."""
    batch_size: Count = 256
    """Instances per step."""
    lr: NonNegative = 1e-3
    """Learning rate of Adam."""


class RankerStage(SFTStage):
    """Options of the task ``ranker``."""

    samples: Count
    """Training instances that are shown, at most."""
    against: Literal["random", "retrieved"] = "random"
    """What a training list holds beside its target: random items, or those that the retriever ranks highest."""


def retriever(run: StageRun) -> TrainingSet:
    """Every training instance, by its number."""
    run.model.reorders = False
    return TrainingSet([{"instance": number} for number in range(len(run.data.instances))])


def fit_retriever(run: StageRun, training: TrainingSet) -> list[dict]:
    """Cross-entropy of the next dislike over all items, by Adam. An interrupted stage starts again: it is short."""
    network, stage, size = run.model.retriever, run.stage, len(training)
    torch.manual_seed(run.seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=stage.lr)
    last = stage.epochs * -(-size // stage.batch_size)
    state, log, losses = SimpleNamespace(global_step=0, max_steps=last, is_world_process_zero=False), [], []
    for callback in run.callbacks:
        callback.on_train_begin(None, state, None)
    for _ in range(stage.epochs):
        order = run.rng.permutation(size)
        for start in range(0, size, stage.batch_size):
            network.train()
            batch = run.data[order[start : start + stage.batch_size]].to(run.model.device)
            loss = nn.functional.cross_entropy(network.logits(batch), batch[network.POS_ITEM_ID])
            if not torch.isfinite(loss):
                raise UserError(f"stages.{stage.name}: the loss is {loss.item()} in training; lower lr")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            state.global_step += 1
            if state.global_step % LOG_EVERY == 0 or state.global_step == last:
                log.append({"step": state.global_step, "loss": float(np.mean(losses))})
                losses.clear()
                if run.progress:
                    run.progress(state.global_step, last, log[-1])
            for callback in run.callbacks:
                callback.on_step_end(None, state, None)
    return log


def ranker(run: StageRun) -> TrainingSet:
    """Training instances, each in a list with 19 other items that the user did not dislike before; the answer is the
    letter of the target.
    """
    model, data, stage = run.model, run.data, run.stage
    model.reorders = True
    for callback in run.callbacks:
        if isinstance(callback, BestWeights):
            callback.before = None  # lists were the retriever's until now
    picked = run.rng.permutation(len(data.instances))[: stage.samples]
    part = data.instances[picked]
    if stage.against == "random":
        others = run.rng.integers(1, model.n_items, (len(part), 2 * RETRIEVED))
        owner, known = data.exclusion.pairs(part.begin, part.end)
        key = np.arange(len(part))[:, None] * model.n_items + others
        others = np.where(np.isin(key, owner * model.n_items + known), 0, others)
    else:
        parts = (data[some].to(model.device) for some in np.array_split(picked, max(len(picked) // 512, 1)))
        others = np.concatenate([model.retrieved(one, RETRIEVED).cpu().numpy() for one in parts])
    lists = _with_target(part.item, others)
    prompts, place = model.prompts.lettered(
        part.begin, part.end, part.time, part.user, model.context, lists, model.seed
    )
    answers = model.prompts.letters[place[:, 0]][:, None].tolist()
    return TrainingSet(asked(prompts, answers))


def _with_target(target: np.ndarray, others: np.ndarray) -> np.ndarray:
    """int64 [N, 20]: the target [N] and the first 19 others [N, M] that are neither it nor 0; one that is there twice
    leaves an empty place.
    """
    others = np.where(others == target[:, None], 0, others)
    order = np.argsort(others == 0, axis=1, kind="stable")
    lists = np.concatenate([target[:, None], np.take_along_axis(others, order, axis=1)[:, : RETRIEVED - 1]], axis=1)
    again = (lists[:, :, None] == lists[:, None, :]) & np.tri(RETRIEVED, k=-1, dtype=bool)
    return np.where(again.any(axis=2), 0, lists)


# -- the model -------------------------------------------------------------------------------------------------------
class LlamaRec(TextRecommender):
    """The model of one data set: it recommends, and it ranks given candidates.

    Attributes:
        retriever: the sequential model; lm: it and the language model, so that stages keep both.
        reorders: whether the language model orders the lists, as it does once its stage has begun.
    """

    prompts: LetterPrompts
    OPTIONS = LanguageModelOptions
    TEXTS = (PREFERENCE, *OPINION.values(), POOL, ANSWER, SEPARATOR, *LETTERS)
    TASKS: ClassVar[dict[str, Task]] = {
        "retriever": Task(retriever, RetrieverStage, "recbole_conrec.model.llamarec:fit_retriever"),
        "ranker": Task(ranker, RankerStage),
    }

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.retriever = Retriever(config, dataset)
        self.lm = nn.ModuleDict({"retriever": self.retriever, "llm": self.backbone.model})
        self.prompts = LetterPrompts(self.backbone, self.log, self.options.max_tokens, dataset.item_text())
        self.reorders = self.stages[-1].task == "ranker"

    @classmethod
    def read_options(cls, config):
        options, stages = super().read_options(config)
        if stages[0].task != "retriever":
            raise UserError(
                f"stages: the first has the task '{stages[0].task}'; expected retriever, which ranker needs"
            )
        return options, stages

    @torch.no_grad()
    def scores_by(self, how: str, interaction, items: torch.Tensor) -> torch.Tensor:
        """Float [B, C]: the retriever's log-probabilities of items [B, C], whatever ``how``; -inf for padding."""
        logps = self._logps(interaction).gather(1, items)
        return logps.masked_fill(items == 0, -torch.inf)

    def _logps(self, interaction) -> torch.Tensor:
        logits = self.retriever.logits(interaction)
        logits[:, 0] = -torch.inf
        return logits.log_softmax(1)

    @torch.no_grad()
    def retrieved(self, interaction, k: int, prior: torch.Tensor | None = None) -> torch.Tensor:
        """int64 [B, k]: the retriever's list, 0 = a missing place."""
        scores = self._logps(interaction)
        left_out = excluded_pairs(interaction, self.exclusion)
        return dense_topk(scores if prior is None else scores + prior, k, left_out, name=type(self).__name__)

    @torch.no_grad()
    def recommend(self, interaction, k: int, prior: torch.Tensor | None = None) -> torch.Tensor:
        """int64 [B, k]: the retriever's list, its first 20 places in the order of the language model.

        prior: float [B, n_items], added to the retriever's log-probabilities (runs/present.py).
        """
        items = self.retrieved(interaction, max(k, RETRIEVED), prior)
        if self.reorders:
            head = items[:, :RETRIEVED]
            order = self.order(interaction, head).argsort(dim=1, descending=True, stable=True)
            items = torch.cat([head.gather(1, order), items[:, RETRIEVED:]], dim=1)
        return items[:, :k]

    def prompt(self, interaction, candidates: torch.Tensor) -> Prompts:
        """The prompts that name all of the items [B, C]."""
        columns = self.prompt_inputs(interaction)
        return self.prompts.lettered(*columns, self.context, candidates.cpu().numpy(), self.seed)[0]

    def judge(self, interaction, items: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
        """The scores are the log-probabilities of the candidates' letters, each among the retriever's first items."""
        rivals = self.retrieved(interaction, RETRIEVED).cpu().numpy()

        def score(columns, lists):
            prompts, letters = self._letters(columns, lists)
            return prompts, letters[:, 0]

        return judge(self.prompt_inputs(interaction), items, rivals, RETRIEVED, score)

    def order(self, interaction, items: torch.Tensor) -> torch.Tensor:
        """Float [B, C]: the log-probabilities of the letters of items that one prompt names, C <= 26."""
        return self._letters(self.prompt_inputs(interaction), items.cpu().numpy())[1]

    def _letters(self, columns: Columns, lists: np.ndarray) -> tuple[Prompts, torch.Tensor]:
        prompts, place = self.prompts.lettered(*columns, self.context, lists, self.seed)
        prompts, there = prompts.to(self.device), torch.from_numpy(place).to(self.device)
        nothing = torch.full((len(lists), 1, 1), -1, device=self.device)  # the answer follows the prompt itself
        letters = self.prompts.letters[: lists.shape[1]].tolist()
        answers = answer_logps(self.backbone, *prompts.pair, nothing, letters, chunk=self.chunk)[:, 0]
        missing = torch.from_numpy(lists == 0).to(self.device)
        return prompts, answers.gather(1, there).masked_fill(missing, -torch.inf).log_softmax(1)
