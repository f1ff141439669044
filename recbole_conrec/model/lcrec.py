"""LC-Rec: one language model tuned on several tasks that tie semantic IDs to language.

IDs come from an RQ-VAE of four levels whose last one is balanced by Sinkhorn's plan, so that every item has an ID of
its own. One stage mixes the tasks of model/language_tasks.py: next item, ID -> title, title -> ID, history -> next
title, titles -> next item. ``context`` makes the paper's two rows: ``both`` (Neg.&Pos.) and ``negative`` (Neg. Only).

Reference: Zheng et al., "Adapting Large Language Models by Integrating Collaborative Semantics for Recommendation",
ICDE 2024, arXiv 2311.09049; code RUCAIBox/LC-Rec. Departures:

- Decoding walks the trie of existing IDs. The public code limits the tokens by their position alone, so that codes of
  different items can be put together to IDs that no item has.
- The events of a prompt are named disliked or liked, and next items are next dislikes, as in every row here.
- Negatives are trained together, in stretches of ``history`` events of a user's sequence that overlap by half; the
  public code makes one row of each, with the last 20 items. So a target far into a sequence is trained with 10 to 19
  events before it, while prompts tell 20. Histories of titles, and those that lead to a title, are rows as in the
  public code (``text_history``).
- One phrasing per task; the public code draws one of 12 to 20 each time.
- The tasks that need texts written by GPT-3.5 (item search by intention, preference inference) and item descriptions
  are left out: the data sets have no such texts.
- IDs see who liked and disliked an item in training beside its text (the encoder ``behaviour``); the paper's see texts
  alone. So with ``context: negative`` prompts tell no like, but IDs have seen likes.
- The paper tunes LLaMA-7B in full (its code has LoRA, too). Here ``llm:`` decides; the default is the embedded model.
"""

from recbole_conrec.generative.language_tasks import MIXTURE
from recbole_conrec.generative.prompts import ALL_TEXT, context_of
from recbole_conrec.generative.recommender import GenerativeRecommender
from recbole_conrec.generative.text_prompts import TEXT, TextPrompts
from recbole_conrec.llm.backbone import load_backbone


class LCRec(GenerativeRecommender):
    """The model of one data set. Decoding is constrained: only IDs of existing items can come out."""

    TASKS = {"mixture": MIXTURE}

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        titles = dataset.item_text()
        self.speak(
            load_backbone(
                config["llm"],
                self.semantic_ids,
                [*titles[1:], *ALL_TEXT, *TEXT],
                item_texts=titles,
                seed=config["seed"],
                device=config["device"],
                **(config["llm_options"] or {}),
            )
        )
        self.prompts = TextPrompts(self.backbone, self.log, config["max_tokens"], titles)
        self.context = context_of(config["context"], config["history"])

    def prompt(self, interaction):
        *columns, users = self.told(interaction)
        ids, mask = self.prompts.history(*columns, self.context, users)
        return ids.to(self.device), mask.to(self.device)
