"""InstructRec: an instruction of preference, intention and task, which names the candidates; the answer is one of them.

A candidate's score is the log-likelihood of its title after the instruction. The row fills CandAcc only: candidates
must be given. Their order in the prompt is a hash of the run's seed, so that a candidate's place tells nothing.

Reference: Zhang et al., "Recommendation as Instruction Following: A Large Language Model Empowered Recommendation
Approach", arXiv 2305.07001; no code is public. Departures:

- Preference is the history by titles (the paper's implicit one), liked and disliked; intention is one fixed sentence.
  The paper's explicit preferences and its intentions are written by GPT-3.5 from reviews, partly of the target itself:
  there are no reviews here, and nothing of the target may show.
- One phrasing of the reranking task; the paper has 39 templates of several tasks, and adds reasoning texts.
- Training lists are drawn as the benchmark's own candidates are (19 exposures or popular items beside the dislike),
  from training events; the paper draws negatives at random.
- The paper tunes Flan-T5-XL; here ``llm:`` is any causal model, and the default the embedded one.
"""

import torch

from recbole_conrec.generative.language_tasks import asked, tokens_of
from recbole_conrec.generative.prompts import context_of
from recbole_conrec.generative.recommender import StagedRecommender
from recbole_conrec.generative.stage import SFT_NEEDS, SFT_TAKES, StageRun, Task
from recbole_conrec.generative.text_prompts import TEXT, TextPrompts
from recbole_conrec.llm.backbone import load_backbone
from recbole_conrec.llm.decoding import text_logps


def rank(run: StageRun):
    """Training instances (at most ``samples``) with candidates of their own; the answer is the item disliked."""
    model, data = run.model, run.data
    picked = run.rng.permutation(len(data.instances))[: run.stage["samples"]]
    part, candidates = data.instances[picked], data.truth("train").candidates[picked]
    prompts = model.prompts.ranking(part.begin, part.end, part.time, part.user, model.context, candidates, model.order)
    return run.sft(asked(prompts, tokens_of(model.prompts.answer(part.item))))


class InstructRec(StagedRecommender):
    """The model of one data set. It ranks given candidates and recommends nothing."""

    TASKS = {"rank": Task(rank, SFT_NEEDS | {"samples"}, SFT_TAKES)}
    chunk = 32

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        titles, self.order = dataset.item_text(), config["seed"]
        self.speak(
            load_backbone(
                config["llm"],
                self.semantic_ids,
                [*titles[1:], *TEXT],
                item_texts=titles,
                seed=config["seed"],
                device=config["device"],
                **(config["llm_options"] or {}),
            )
        )
        self.prompts = TextPrompts(self.backbone, self.log, config["max_tokens"], titles)
        self.context = context_of(config["context"], config["history"])

    def prompt(self, interaction, candidates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The instruction that names candidates [B, C]: input_ids, attention_mask int64 [B, T], left-padded."""
        ids, mask = self.prompts.ranking(*self.told(interaction), self.context, candidates.cpu().numpy(), self.order)
        return ids.to(self.device), mask.to(self.device)

    @torch.no_grad()
    def score_candidates(self, interaction, items: torch.Tensor) -> torch.Tensor:
        """float [B, C]: log-likelihood of each candidate's title after the prompt that names all; -inf for padding."""
        answers = torch.from_numpy(self.prompts.answer(items.cpu().numpy())).to(self.device)
        return text_logps(self.backbone, *self.prompt(interaction, items), answers, chunk=self.chunk)
