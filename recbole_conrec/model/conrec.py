r"""CoNRec: a language model over semantic IDs, trained with progressive GRPO.

An item is an ID of a few codes, each one token. The model reads a user's history as IDs and answers with the ID of the
item that he will dislike next. Training goes through ``stages`` (see properties/model/CoNRec.yaml): supervised ones
(translation between IDs and titles, item-level alignment, next-negative prediction), then GRPO with growing context:

.. math::
    r(o) = \max_{i \in GTS} \cos(o, i) - \gamma \max_{t \in FPS} \cos(o, t), \quad
    A_i = (r_i - \mathrm{mean}\, r) / \mathrm{std}\, r

Reference: "CoNRec", arXiv 2601.15721; its authors released no code. What the paper leaves open is marked (ours).
"""

from recbole_conrec.generative.prompts import ALL_TEXT, PromptBuilder, context_of
from recbole_conrec.generative.recommender import GenerativeRecommender
from recbole_conrec.generative.tasks import TASKS, alignment_accuracy
from recbole_conrec.llm.backbone import load_backbone


class CoNRec(GenerativeRecommender):
    """The model of one data set. Decoding is constrained: only IDs of existing items can come out."""

    TASKS = TASKS

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        texts = dataset.item_text()
        self.speak(
            load_backbone(
                config["llm"],
                self.semantic_ids,
                [*texts[1:], *ALL_TEXT],
                item_texts=texts,
                seed=config["seed"],
                device=config["device"],
                **(config["llm_options"] or {}),
            )
        )
        self.prompts = PromptBuilder(self.backbone, self.log, config["max_tokens"])
        self.context = context_of(config["context"], config["history"])

    def prompt(self, interaction):
        *columns, users = self.told(interaction)
        ids, mask = self.prompts.history(*columns, self.context, users)
        return ids.to(self.device), mask.to(self.device)

    def probe(self, data):
        return {"alignment": alignment_accuracy(self, data)}
