"""P5-CID: P5's sequential prompt over collaborative IDs.

An item's ID is its path through a recursive spectral clustering of the items that users share, and its number within
the last cluster (tokenizer/collaborative.py). The prompt is that of P5,

    User_17 has disliked item_<A3><A12> , item_<A3><A40> ... , predict next possible item to be disliked by the user ?

told as ids alone: a word that names the user, his number in digits to base 100 (as a text tokenizer cuts numbers into
pieces), a word before each item that tells its feedback, and a word that asks.

Reference: Hua et al., "How to Index Item IDs for Recommendation Foundation Models", SIGIR-AP 2023, arXiv 2305.06569;
code Wenyueh/LLM-RecSys-ID. Departures:

- T5 has fresh weights and the paper's starts from t5-small; words of the prompt that never change are one token each,
  since without pre-training they say no more. For the same reason one of P5's ten phrasings is used.
- The default size is small (properties/model/P5CID.yaml names t5-small's).
- P5's whole-word embeddings, which number the items of a prompt, are left out: T5's relative positions and the word
  before each item tell where it stands.
- The public code draws a target of a user at random for each row, as many as he has events times the phrasings; here
  each training instance is shown once an epoch.
- In the public code all levels share the tokens 0 .. leaf - 1, numbered on across clusters; here each level has its
  own, and a path that ends early is filled with code 0, so that all IDs have one length.
- The IDs are made from the training events of both feedbacks, the candidates for beams are existing IDs, as there.
"""

import numpy as np

from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.generative.t5_recommender import IdPrompt, T5Recommender

BASE = 100  # digits 0 .. 99 are the first words
USER, DISLIKED, LIKED, ASK, WORDS = range(BASE, BASE + 5)


class P5CID(T5Recommender):
    """The model of one data set."""

    def id_prompt(self, config, dataset):
        number = np.arange(self.log.n_users)
        digits = number[:, None] // BASE ** np.arange(5, -1, -1) % BASE
        digits = digits[:, digits.any(axis=0)]  # as many as the largest number has
        user = np.column_stack([np.full(len(number), USER), digits])
        return IdPrompt(WORDS, user, {NEGATIVE: DISLIKED, POSITIVE: LIKED}, (ASK,))
