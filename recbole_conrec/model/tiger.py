"""TIGER: an encoder-decoder that reads the semantic IDs of a history and generates the next item's.

The prompt is a user token, into which users are hashed, and the codes of the latest items. IDs come from an RQ-VAE of
three levels; a fourth code numbers the items that share the first three (``collisions: extra_code``). With ``context:
both`` a token before each item gives its feedback. With ``tokenizer.rqvae.contrastive`` above 0 the same model uses
LETTER's tokenizer (as in properties/leaderboard/beyond.yaml).

Reference: Rajput et al., "Recommender Systems with Generative Retrieval", NeurIPS 2023, arXiv 2305.05065. Its authors
published no code; we read two public implementations, EdoardoBotta/RQ-VAE-Recommender and HonghuiBao2000/LETTER
(LETTER-TIGER). Departures:

- The input ends with an end token, as in LETTER's code; the answer does not, since all IDs have the same length.
- The paper decodes without constraint and drops IDs that no item has; here, as in LETTER's code, beams walk the trie of
  existing IDs. Items that the user already disliked cannot come out.
- AdamW with a cosine schedule, as in LETTER's code; the paper uses Adafactor with an inverse square root schedule.
- Each level has its own tokens for its codes, and the items of the prompt follow each other without separators.
- The default size is small (see properties/model/TIGER.yaml, which names the paper's).
- LETTER aligns quantised vectors with SASRec's item embeddings and spreads codes by constrained k-means during
  training; here they are aligned with the behaviour encoder's vectors, and codes are spread by their initialisation and
  restarts.
"""

import numpy as np

from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.generative.method_options import T5MethodOptions
from recbole_conrec.generative.t5_recommender import IdPrompt, T5Recommender
from recbole_conrec.options.schema import Natural
from recbole_conrec.utils.arrays import mix, token_keys


class TIGEROptions(T5MethodOptions):
    """Options of TIGER."""

    user_tokens: Natural = 2000
    """Tokens that users are hashed into; 0: no user token."""


class TIGER(T5Recommender):
    """The model of one data set."""

    OPTIONS = TIGEROptions

    def id_prompt(self, dataset) -> IdPrompt:
        buckets = self.options.user_tokens
        keys = token_keys(dataset.field2id_token[dataset.uid_field])
        user = (mix(keys) % np.uint64(max(buckets, 1))).astype(np.int64)[:, None][:, : min(buckets, 1)]
        marker = {NEGATIVE: buckets, POSITIVE: buckets + 1} if POSITIVE in self.context.kinds else {}
        return IdPrompt(buckets + len(marker), user, marker)
