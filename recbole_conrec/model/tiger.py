"""TIGER: an encoder-decoder that reads the semantic IDs of a history and generates the next item's.

The prompt is a user token, into which users are hashed, and the codes of the latest items. IDs come from an RQ-VAE of
three levels; a fourth code counts the items that share the first three (``collisions: extra_code``). With ``context:
both`` a token before each item tells its feedback. With ``tokenizer.rqvae.contrastive`` above 0 the same model stands
on LETTER's tokenizer (properties/leaderboard/beyond.yaml has the row).

Reference: Rajput et al., "Recommender Systems with Generative Retrieval", NeurIPS 2023, arXiv 2305.05065. Its authors
published no code; public ones that were read: EdoardoBotta/RQ-VAE-Recommender and HonghuiBao2000/LETTER (LETTER-TIGER).
Departures:

- The input is closed by an end token, as in LETTER's code; the answer is not, for all IDs have one length.
- The paper decodes freely and drops IDs that no item has; here, as in LETTER's code, beams walk the trie of existing
  IDs. No item that the user already disliked can come out.
- AdamW with a cosine schedule, as in LETTER's code; the paper has Adafactor with an inverse square root.
- A code has a token of its own at each level, and items of the prompt follow each other without separators.
- The default size is small (see properties/model/TIGER.yaml, which names the paper's).
- LETTER aligns quantised vectors with SASRec's item embeddings and spreads codes by constrained k-means within the
  training; here the alignment is with the behaviour encoder's vectors, and codes spread by their start and restarts.
"""

import numpy as np

from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.generative.t5_recommender import IdPrompt, T5Recommender
from recbole_conrec.utils.arrays import mix, token_keys
from recbole_conrec.utils.errors import UserError


class TIGER(T5Recommender):
    """The model of one data set. ``user_tokens``: how many tokens users are hashed into; 0 for none."""

    def id_prompt(self, config, dataset):
        buckets = config["user_tokens"]
        if not isinstance(buckets, int) or buckets < 0:
            raise UserError(f"user_tokens: {buckets!r} is no whole number of at least 0")
        keys = token_keys(dataset.field2id_token[dataset.uid_field])
        user = (mix(keys) % np.uint64(max(buckets, 1))).astype(np.int64)[:, None][:, : min(buckets, 1)]
        marker = {NEGATIVE: buckets, POSITIVE: buckets + 1} if POSITIVE in self.context.kinds else {}
        return IdPrompt(buckets + len(marker), user, marker)
