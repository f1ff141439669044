"""LC-Rec: one language model tuned on several tasks that tie semantic IDs to language.

IDs come from an RQ-VAE of four levels; a Sinkhorn plan balances the last one, so that every item has its own ID. One
stage mixes the tasks of generative/mixture.py: next item, ID -> title, title -> ID, history -> next title, titles ->
next item. ``context`` gives the paper's two variants: ``both`` (Neg.&Pos.) and ``negative`` (Neg. Only).

Reference: Zheng et al., "Adapting Large Language Models by Integrating Collaborative Semantics for Recommendation",
ICDE 2024, arXiv 2311.09049; code RUCAIBox/LC-Rec. Departures:

- Decoding walks the trie of existing IDs. The public code restricts tokens by their position only, so that codes of
  different items can combine to IDs that no item has.
- Events in a prompt are marked disliked or liked, and the next item is the next dislike, as in every method here.
- Negatives are trained together, in stretches of ``history`` events of a user's sequence that overlap by half; the
  public code makes one example of each, with the last 20 items. A target far into a sequence is therefore trained with
  10 to 19 events before it, while prompts show 20. Histories of titles, and histories whose answer is a title, are one
  example each, as in the public code (``text_history``).
- One phrasing per task; the public code draws one of 12 to 20 each time.
- The tasks that need texts written by GPT-3.5 (item search by intention, preference inference) and item descriptions
  are left out: the data sets have no such texts.
- IDs encode who liked and disliked an item in training, in addition to its text (the encoder ``behaviour``); the
  paper's encode texts only. With ``context: negative``, prompts show no like, but IDs have seen likes.
- The paper tunes all weights of LLaMA-7B (its code has LoRA, too). Here ``llm:`` names the backbone; the default is the
  embedded model.
"""

from typing import ClassVar

from recbole_conrec.generative.method_options import IdDecodingOptions, LanguageModelOptions, TitleHistoryOptions
from recbole_conrec.generative.mixture import MixtureStage, mixture
from recbole_conrec.generative.prompts import ID_TEXTS
from recbole_conrec.generative.recommender import IdLanguageModel
from recbole_conrec.generative.stage import Task
from recbole_conrec.generative.text_prompts import TITLE_TEXTS, TextPrompts


class LCRecOptions(LanguageModelOptions, IdDecodingOptions, TitleHistoryOptions):
    """Options of LC-Rec."""


class LCRec(IdLanguageModel):
    """The model of one data set. Decoding is constrained: only IDs of existing items can be generated."""

    OPTIONS = LCRecOptions
    TASKS: ClassVar[dict[str, Task]] = {"mixture": Task(mixture, MixtureStage)}
    TEXTS = (*ID_TEXTS, *TITLE_TEXTS)

    def make_prompts(self, titles: list[str]) -> TextPrompts:
        return TextPrompts(self.backbone, self.log, self.options.max_tokens, titles)
