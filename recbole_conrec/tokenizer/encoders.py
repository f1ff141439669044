"""Items -> vectors. An encoder is fitted once on the catalogue, then encodes any item, and is kept as plain data.

Each one has ``fit(items) -> vectors``, ``transform(items) -> vectors`` (float32 [n, dim]; a row of zeros says that
nothing is known of the item), ``state() -> (json, arrays)`` with ``from_state`` as its inverse, ``reads_text``, and
``files(spec)``: the files whose content decides the vectors.
"""

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from recbole_conrec.tokenizer.behaviour import Behaviour
from recbole_conrec.tokenizer.inputs import Items
from recbole_conrec.tokenizer.sentence import SentenceTransformers
from recbole_conrec.tokenizer.vectors_file import VectorsFile
from recbole_conrec.utils.errors import UserError


class Tfidf:
    """TF-IDF of the items' words, then truncated SVD: latent semantic analysis. Needs nothing but the texts.

    Args:
        dim: dimensions kept (all words where there are fewer).
        analyzer: 'word', or 'char_wb' for languages without spaces.
        ngrams: (shortest, longest) n-gram.
        max_features: the most frequent terms that are kept.
    """

    reads_text = True

    def __init__(
        self, *, dim: int = 64, analyzer: str = "word", ngrams=(1, 1), max_features: int = 50_000, seed: int = 0
    ):
        self.dim, self.seed = dim, seed
        self.options = {"analyzer": analyzer, "ngram_range": tuple(ngrams), "max_features": max_features}
        self.components: np.ndarray | None = None  # [dim, terms]; None where the terms are few enough as they are

    def _vectorizer(self, **more) -> TfidfVectorizer:
        words = r"(?u)\b\w+\b" if self.options["analyzer"] == "word" else None  # one letter is a word too
        return TfidfVectorizer(sublinear_tf=True, token_pattern=words, dtype=np.float32, **self.options, **more)

    def fit(self, items: Items) -> np.ndarray:
        texts = [t for t in items.texts if t.strip()]
        if not texts:
            raise UserError(
                "tokenizer.encoder: no item has a text for 'tfidf'; name item fields that have one in "
                "tokenizer.fields, or use the encoder 'behaviour' or 'file'"
            )
        self.vectorizer = self._vectorizer()
        try:
            terms = self.vectorizer.fit_transform(texts)
        except ValueError:
            raise UserError(
                f"tokenizer.encoder: the texts hold no words for 'tfidf' (first: '{texts[0]}'); for a "
                "language without spaces set analyzer: char_wb"
            ) from None
        if self.dim < min(terms.shape):
            svd = TruncatedSVD(self.dim, n_iter=7, random_state=self.seed).fit(terms)
            self.components = svd.components_.astype(np.float32)
        return self.transform(items)

    def transform(self, items: Items) -> np.ndarray:
        terms = self.vectorizer.transform(items.texts)
        dense = terms.toarray() if self.components is None else terms @ self.components.T
        return np.asarray(dense, dtype=np.float32)

    def state(self) -> tuple[dict, dict]:
        vocabulary = sorted(self.vectorizer.vocabulary_, key=self.vectorizer.vocabulary_.get)
        arrays = {"idf": self.vectorizer.idf_}
        if self.components is not None:
            arrays["components"] = self.components
        return {"options": {**self.options, "dim": self.dim}, "vocabulary": vocabulary}, arrays

    @staticmethod
    def files(spec: dict) -> list:
        return []

    @classmethod
    def from_state(cls, state: dict, arrays: dict) -> "Tfidf":
        options = dict(state["options"])
        encoder = cls(
            dim=options["dim"],
            analyzer=options["analyzer"],
            ngrams=tuple(options["ngram_range"]),
            max_features=options["max_features"],
        )
        encoder.vectorizer = encoder._vectorizer(vocabulary={t: i for i, t in enumerate(state["vocabulary"])})
        encoder.vectorizer.idf_ = arrays["idf"]
        encoder.components = arrays.get("components")
        return encoder


ENCODERS = {"tfidf": Tfidf, "sentence-transformers": SentenceTransformers, "file": VectorsFile, "behaviour": Behaviour}
