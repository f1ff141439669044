"""The simulated shop's items: attributes, readable titles, popularity and the day they appear."""

from dataclasses import dataclass

import numpy as np

from recbole_conrec.data.simulation.vocabulary import CATEGORIES, EXTRAS, GROUPS, TEMPLATES

ATTRIBUTES = tuple(f"{group}:{word}" for group, words in GROUPS.items() for word in words)
GROUP_START = np.cumsum([0] + [len(words) for words in GROUPS.values()])


@dataclass(frozen=True)
class Catalogue:
    """Items 0..I-1.

    Attributes:
        attributes: int64 [I, 5]; positions in ``ATTRIBUTES``, one of each group.
        titles: I strings, each with all attributes of its item.
        popularity: float64 [I], sums to 1; a long tail (Zipf).
        born: int64 [I]; seconds after the log's start at which the item can first be shown.
    """

    attributes: np.ndarray
    titles: list[str]
    popularity: np.ndarray
    born: np.ndarray

    def words(self, group: str) -> list[str]:
        """The items' words of one group, e.g. ``words('category')``."""
        column = list(GROUPS).index(group)
        first = GROUP_START[column]
        return [GROUPS[group][code - first] for code in self.attributes[:, column]]


def zipf(size: int, exponent: float) -> np.ndarray:
    """Probabilities proportional to 1 / (rank + 1) ** exponent; [size], sums to 1."""
    weight = 1.0 / np.arange(2, size + 2) ** exponent
    return weight / weight.sum()


def draw(rng: np.random.Generator, probabilities: np.ndarray, shape) -> np.ndarray:
    """Positions drawn with replacement by inverse transform; int64 of ``shape``."""
    cumulative = np.cumsum(probabilities)
    return np.searchsorted(cumulative, rng.random(shape) * cumulative[-1], side="right").clip(max=len(cumulative) - 1)


def make_catalogue(rng: np.random.Generator, n_items: int, seconds: int, new_items: float) -> Catalogue:
    """Draw a catalogue.

    Args:
        n_items: number of items.
        seconds: length of the log.
        new_items: share of items that appear during the log instead of before it.
    """
    sizes = [len(words) for words in GROUPS.values()]
    columns = [GROUP_START[g] + draw(rng, zipf(size, 0.5), n_items) for g, size in enumerate(sizes)]
    attributes = np.stack(columns, axis=1)
    popularity = zipf(n_items, 0.6)[rng.permutation(n_items)]
    is_new = rng.random(n_items) < new_items
    born = np.where(is_new, (rng.random(n_items) * seconds).astype(np.int64), 0)
    return Catalogue(attributes, _titles(rng, attributes), popularity, born)


def _titles(rng: np.random.Generator, attributes: np.ndarray) -> list[str]:
    choice = rng.random((len(attributes), 3))
    words = [word for group in GROUPS.values() for word in group]
    titles = []
    for codes, (template, noun, extra) in zip(attributes, choice, strict=True):
        category, material, style, colour, brand = (words[code] for code in codes)
        nouns = CATEGORIES[category]
        title = TEMPLATES[int(template * len(TEMPLATES))].format(
            noun=nouns[int(noun * len(nouns))], material=material, style=style, colour=colour, brand=brand
        )
        titles.append(f"{title} {EXTRAS[int(extra * len(EXTRAS))]}".strip())
    return titles
