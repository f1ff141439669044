"""P5-CID: P5's sequential prompt over collaborative IDs.

An item's ID is its path through a recursive spectral clustering of the items that users share, and its number within
the last cluster (tokenizer/collaborative.py). The prompt is that of P5,

    User_17 has disliked item_<A3><A12> , item_<A3><A40> ... , predict next possible item to be disliked by the user ?

given as token ids only: a word for the user, the user's number in digits to base 100 (as a text tokenizer splits
numbers into pieces), a word before each item for its feedback, and a word for the question.

Reference: Hua et al., "How to Index Item IDs for Recommendation Foundation Models", SIGIR-AP 2023, arXiv 2305.06569;
code Wenyueh/LLM-RecSys-ID. Departures:

- T5 starts from randomly initialised weights; the paper's starts from t5-small. Words of the prompt that never change
  are one token each, since without pre-training they carry no more information. For the same reason only one of P5's
  ten phrasings is used.
- The default size is small (properties/model/P5CID.yaml names t5-small's).
- P5's whole-word embeddings, which number the items of a prompt, are left out: T5's relative positions and the word
  before each item show its position.
- The public code draws a random target of a user for each example, as many as the user has events times the phrasings;
  here each training instance is shown once per epoch.
- In the public code all levels share the tokens 0 .. leaf - 1, numbered on across clusters; here each level has its own
  tokens, and a path that ends early is filled with code 0, so that all IDs have the same length.
- As there, the IDs are made from the training events of both kinds of feedback, and beams are restricted to existing
  IDs.
"""

import numpy as np

from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.generative.t5_recommender import IdPrompt, T5Recommender

BASE = 100  # digits 0 .. 99 are the first words
USER, DISLIKED, LIKED, ASK, WORDS = range(BASE, BASE + 5)


class P5CID(T5Recommender):
    """The model of one data set."""

    def id_prompt(self, dataset) -> IdPrompt:
        number = np.arange(self.log.n_users)
        digits = number[:, None] // BASE ** np.arange(5, -1, -1) % BASE
        digits = digits[:, digits.any(axis=0)]  # as many as the largest number has
        user = np.column_stack([np.full(len(number), USER), digits])
        return IdPrompt(WORDS, user, {NEGATIVE: DISLIKED, POSITIVE: LIKED}, (ASK,))
