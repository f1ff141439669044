"""The words of an item's text as a vector: TF-IDF, then truncated SVD (latent semantic analysis)."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import scipy.sparse
from pydantic import Field, model_validator
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from typing_extensions import Self

from recbole_conrec.options.schema import Count
from recbole_conrec.tokenizer import exact
from recbole_conrec.tokenizer.encoder import Encoder, EncoderOptions
from recbole_conrec.tokenizer.inputs import Items
from recbole_conrec.utils.errors import UserError


class TfidfOptions(EncoderOptions):
    """Options of the encoder ``tfidf``."""

    reads_text = True

    name: Literal["tfidf"] = "tfidf"
    """Which encoder."""
    dim: Count = 64
    """Dimensions kept; a vocabulary of fewer terms is kept whole."""
    analyzer: Literal["word", "char", "char_wb"] = "word"
    """What a term is; ``char_wb`` (character n-grams within words) suits languages without spaces."""
    ngrams: Annotated[tuple[Count, Count], Field(strict=False)] = (1, 1)
    """Shortest and longest n-gram."""
    max_features: Count = 50_000
    """The most frequent terms that are kept."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.ngrams[0] > self.ngrams[1]:
            raise ValueError(f"ngrams: {list(self.ngrams)}; the shortest n-gram comes first")
        return self


class Tfidf(Encoder):
    """(1 + ln tf) * (1 + ln((1 + n) / (1 + df))), scaled to unit length, then truncated SVD.

    Needs nothing but the texts. An item without known words is zero.
    """

    Options = TfidfOptions

    def __init__(self, options: TfidfOptions, seed: int = 0):
        self.options, self.seed = options, seed
        self.components: np.ndarray | None = None  # [dim, terms]; None: there are so few terms that all are kept

    def _vectorizer(self, vocabulary: dict[str, int] | None = None) -> TfidfVectorizer:
        options = self.options
        return TfidfVectorizer(
            sublinear_tf=True,
            token_pattern=r"(?u)\b\w+\b" if options.analyzer == "word" else None,  # one letter is a word too
            norm=None,
            analyzer=options.analyzer,
            ngram_range=options.ngrams,
            vocabulary=vocabulary,
        )

    def fit(self, items: Items) -> np.ndarray:
        """Learn the vocabulary and the SVD; returns the catalogue's vectors. UserError if no text has a word."""
        texts = [t for t in items.texts if t.strip()]
        if not texts:
            raise UserError(
                "tokenizer.encoder: no item has a text for 'tfidf'; name item fields that have one in "
                "tokenizer.fields, or use the encoder 'behaviour' or 'file'"
            )
        self.vectorizer = self._vectorizer()
        try:
            terms = self.vectorizer.fit_transform(texts)
            if terms.shape[1] > self.options.max_features:
                self.vectorizer = self._vectorizer(self._frequent(texts))
                terms = self.vectorizer.fit_transform(texts)
        except ValueError:
            raise UserError(
                f"tokenizer.encoder: the texts contain no words for 'tfidf' (first: '{texts[0]}'); for a "
                "language without spaces set analyzer: char_wb"
            ) from None
        # last bits of a logarithm differ between machines
        self.vectorizer.idf_ = self.vectorizer.idf_.astype(np.float32)
        if self.options.dim < min(terms.shape):
            self.components = exact.components(weights := self._terms(items.texts), self.options.dim, self.seed)
            return exact.matmul(weights, self.components.T).astype(np.float32)
        return self.transform(items)

    def _frequent(self, texts: list[str]) -> dict[str, int]:
        """The ``max_features`` terms that occur most often, the first of equal ones in the alphabet, by position."""
        counts = np.asarray(CountVectorizer.transform(self.vectorizer, texts).sum(axis=0)).ravel()
        kept = np.sort(np.argsort(-counts, kind="stable")[: self.options.max_features])
        names = self.vectorizer.get_feature_names_out()[kept]
        return {name: position for position, name in enumerate(names.tolist())}

    def _terms(self, texts: list[str]) -> scipy.sparse.csr_matrix:
        """Weights [n, terms] of the terms, rows of unit length."""
        weights = self.vectorizer.transform(texts)
        weights.data = weights.data.astype(np.float32)
        return exact.unit_rows(weights)

    def transform(self, items: Items) -> np.ndarray:
        """float32 [n, dim]; words that the catalogue does not have are skipped."""
        terms = self._terms(items.texts)
        dense = terms.toarray() if self.components is None else exact.matmul(terms, self.components.T)
        return np.asarray(dense, dtype=np.float32)

    def state(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Options and vocabulary; inverse document frequencies and, if used, the SVD's components."""
        vocabulary = sorted(self.vectorizer.vocabulary_, key=self.vectorizer.vocabulary_.__getitem__)
        arrays = {"idf": self.vectorizer.idf_}
        if self.components is not None:
            arrays["components"] = self.components
        options = {
            "analyzer": self.options.analyzer,
            "ngram_range": self.options.ngrams,
            "max_features": self.options.max_features,
            "dim": self.options.dim,
        }
        return {"options": options, "vocabulary": vocabulary}, arrays

    @classmethod
    def from_state(cls, state: dict, arrays: dict[str, np.ndarray]) -> Tfidf:
        """The encoder that :meth:`state` described."""
        options = {("ngrams" if name == "ngram_range" else name): value for name, value in state["options"].items()}
        encoder = cls(TfidfOptions.model_validate(options))
        encoder.vectorizer = encoder._vectorizer({term: index for index, term in enumerate(state["vocabulary"])})
        encoder.vectorizer.idf_ = arrays["idf"]
        encoder.components = arrays.get("components")
        return encoder
