"""Semantic-ID tokenizers: items -> short sequences of codes.

``build(config, dataset)`` is all that models need; ``train(options, items)`` makes IDs without RecBole.
"""

from recbole_conrec.tokenizer.inputs import Items
from recbole_conrec.tokenizer.options import TokenizerOptions, parse
from recbole_conrec.tokenizer.pipeline import build, train
from recbole_conrec.tokenizer.semantic_ids import SemanticIds
from recbole_conrec.tokenizer.trie import Trie

__all__ = ["Items", "SemanticIds", "TokenizerOptions", "Trie", "build", "parse", "train"]
