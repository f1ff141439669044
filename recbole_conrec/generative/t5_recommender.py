"""What TIGER and P5-CID share: a T5 that reads a user's history as token ids alone and answers with a semantic ID.

A subclass defines what comes before and after the items and which token precedes an item, see :class:`IdPrompt`. Every
training instance is one pair of prompt and answer, and the prompt is the one that evaluation would ask at its t0.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recbole_conrec.data.events import FeedbackStream
from recbole_conrec.generative.method_options import T5MethodOptions
from recbole_conrec.generative.prompts import Prompts, left_pad_holes
from recbole_conrec.generative.recommender import GenerativeRecommender
from recbole_conrec.generative.stage import StageRun, Task, TrainingSet
from recbole_conrec.generative.stage_options import SFTStage
from recbole_conrec.llm.t5 import EOS, FIRST_EXTRA, PAD, load_t5
from recbole_conrec.utils.errors import UserError


@dataclass(frozen=True)
class IdPrompt:
    """The tokens of a prompt besides the items' codes, as numbers from 0 on (places in the model's own vocabulary).

    Attributes:
        words: how many there are.
        user: int64 [n_users, U], what a prompt says of each user, before their history.
        marker: feedback value -> the token before an item with that feedback; kinds that are not in it have none.
        ask: tokens after the history.
    """

    words: int
    user: np.ndarray
    marker: dict[int, int]
    ask: tuple[int, ...] = ()


def next_dislike(run: StageRun) -> TrainingSet:
    """Every training instance as an example. An ID's length is fixed, so it needs no end token."""
    instances, model = run.data.instances, run.model
    prompts = model.tokens(instances.begin, instances.end, instances.user)
    answers = model.backbone.item_tokens[instances.item].tolist()
    return TrainingSet(
        [
            {"input_ids": tokens[tokens >= 0].tolist(), "labels": answer}
            for tokens, answer in zip(prompts, answers, strict=True)
        ]
    )


class T5Recommender(GenerativeRecommender):
    """<user> [marker] a_5 b_2 c_9 [marker] a_1 b_7 c_0 ... <ask> <end>  ->  the ID of the next dislike."""

    OPTIONS = T5MethodOptions
    TASKS: ClassVar[dict[str, Task]] = {"next": Task(next_dislike, SFTStage)}

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.layout = self.id_prompt(dataset)
        self.set_backbone(
            load_t5(self.semantic_ids, self.options.t5, extra=self.layout.words, device=self.device, seed=self.seed)
        )
        self._shown = FeedbackStream(self.log, self.context.kinds)
        self._item_tokens = self.backbone.item_tokens.cpu().numpy()
        event = self._item_tokens.shape[1] + bool(self.layout.marker)
        longest = self.layout.user.shape[1] + self.context.max_events * event + len(self.layout.ask) + 1
        if longest > self.backbone.max_length:
            raise UserError(
                f"history: {self.context.max_events} events make prompts of up to {longest} tokens, and "
                f"t5.max_length is {self.backbone.max_length}; lower the one or raise the other"
            )

    def id_prompt(self, dataset) -> IdPrompt:
        """The layout of this method's prompts."""
        raise NotImplementedError

    def prompt(self, interaction) -> Prompts:
        columns = (interaction[f].cpu().numpy() for f in ("history_begin", "history_end", self.USER_ID))
        tokens = self.tokens(*columns)
        return Prompts(*left_pad_holes(tokens, PAD), np.zeros(len(tokens), dtype=bool)).to(self.device)

    def tokens(self, begin, end, users) -> np.ndarray:
        """Prompts of the histories begin:end (int64 [N], rows of the log) -> token ids [N, T]; -1 where there is none.

        The latest ``history`` events of the context's kinds are shown, oldest first; nothing outside is read.
        """
        rows, _ = self._shown.last(begin, end, self.context.max_events)
        there, depth = rows >= 0, self._item_tokens.shape[1]
        events = np.full((*rows.shape, 1 + depth), -1)
        events[there, 1:] = self._item_tokens[self.log.item[rows[there]]]
        for kind, token in self.layout.marker.items():
            events[there & (self.log.feedback[rows] == kind), 0] = FIRST_EXTRA + token
        ask = np.array([*(FIRST_EXTRA + token for token in self.layout.ask), EOS])
        return np.concatenate(
            [FIRST_EXTRA + self.layout.user[users], events.reshape(len(rows), -1), np.tile(ask, (len(rows), 1))], axis=1
        )
