"""The texts of items, as they are in the .item file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_conrec.utils.errors import UserError


class ItemText:
    """The text fields of an .item file, found by the item's token."""

    def __init__(self, text: pd.DataFrame, id_field: str, path: Path):
        """text: the file's fields as text, one row per item."""
        self._path = path
        self._text = text.drop_duplicates(id_field).set_index(id_field)

    def join(self, tokens: np.ndarray, fields: Sequence[str] | None) -> list[str]:
        """The text of each token [N]: its non-empty values of `fields` (None: all) joined by '. '; '' if unknown.

        Raises UserError for a field that the file does not have.
        """
        for field in fields or ():
            if field not in self._text:
                raise UserError(f"item_text: {self._path} has no field '{field}'; it has {', '.join(self._text)}")
        rows = self._text[list(fields or self._text)].reindex(tokens).fillna("")
        return [". ".join(filter(None, map(str.strip, row))) for row in rows.itertuples(index=False, name=None)]
