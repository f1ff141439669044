"""RecBole's Dataset with our own reader: exact, checked, and without a Python loop over events.

RecBole still filters events and decides which columns share ids; the steps that read files and shape columns are
replaced. (RecBole's own write into copies, which pandas 3 refuses.)
"""

import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import AfterValidator, BeforeValidator, Field
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType

from recbole_conrec.data import atomic
from recbole_conrec.data.items import ItemText
from recbole_conrec.options.schema import Count, Options, Several, Text
from recbole_conrec.utils.arrays import pad_rows
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import digest, is_there

_SEQUENCES = (FeatureType.TOKEN_SEQ, FeatureType.FLOAT_SEQ)


def _one_character(text: str) -> str:
    if len(text) != 1:
        raise ValueError(f"{text!r} must be a single character")
    return text


class FileOptions(Options):
    """How the atomic files are read."""

    field_separator: Annotated[str, AfterValidator(_one_character)] = "\t"
    """The character between two fields of a row."""
    seq_separator: Annotated[str, Field(min_length=1)] = " "
    """The text between two words of a token_seq or float_seq field."""
    seq_len: dict[str, Count] | None = None
    """Field -> how many words of a sequence to keep, from its beginning; null: all."""
    load_col: dict[str, Literal["*"] | list[str]] | None = None
    """Suffix of a file, such as item -> which of its fields to read, or "*" for all; null: all of every file."""
    unload_col: dict[str, list[str]] | None = None
    """Suffix of a file -> which of its fields not to read."""
    encoding: atomic.Encoding | None = "utf-8"
    """Encoding of the files; null: utf-8."""


class StockOptions(Options):
    """Options of RecBole's own, and of the run, that a data set needs."""

    checkpoint_dir: Text = "saved"
    """Folder of everything that runs leave; parsed events are cached in its ``events/``."""
    LIST_SUFFIX: str = "_list"
    """End of the names of fields that hold histories."""
    numerical_features: Annotated[Several[str], BeforeValidator(lambda given: given or ())] = ()
    """Fields that RecBole makes numbers of."""


class AtomicDataset(SequentialDataset):
    """Reads NAME.inter, and NAME.item and NAME.user if they are there.

    Of the .inter file the ids, the time (as int64) and what `needed_fields` and `optional_fields` add are read,
    whatever `load_col` says. A mistake in a file is a UserError that names the file, the row or field, and the fix.

    Attributes:
        reading, stock: the checked options of reading, and RecBole's own.
        item_words: the texts of the .item file as they are there; None without such a file.
        files_digest, events_digest: sha256 (hex) of each file, one after the other, and of the .inter file.
    """

    inter_feat: Any
    _rest_fields: Any
    item_words: ItemText | None = None
    files_digest: str
    events_digest: str

    def __init__(self, config):
        self.reading, self.stock = FileOptions.of(config), StockOptions.of(config)
        super().__init__(config)

    def needed_fields(self, source: FeatureSource) -> dict[str, str]:
        """Fields that the file of this source must have, each with the option that names it (for the error)."""
        if source == FeatureSource.INTERACTION:
            return {self.uid_field: "USER_ID_FIELD", self.iid_field: "ITEM_ID_FIELD", self.time_field: "TIME_FIELD"}
        return {self.iid_field: "ITEM_ID_FIELD"} if source == FeatureSource.ITEM else {}

    def optional_fields(self) -> set[str]:
        """More fields of the .inter file, read if it has them."""
        return set()

    def _read_header(self, path: Path) -> dict[str, FeatureType]:
        return atomic.read_header(path, self.reading.field_separator, self.reading.encoding or "utf-8")

    def _load_data(self, token, dataset_path):
        path = Path(dataset_path) / f"{token}.inter"
        if not is_there(path):
            raise UserError(
                f"{path}: there is no such file; set `data_path` to the folder that holds the folder '{token}', "
                "or convert the data set first"
            )
        if self.benchmark_filename_list is not None:
            raise UserError("benchmark_filename: files split beforehand are not supported; remove it and use `split`")
        files = [path.with_suffix(f".{suffix}") for suffix in ("inter", "item", "user")]
        digests = [digest(file) for file in files if is_there(file)]
        self.events_digest, self.files_digest = digests[0], "".join(digests)
        super()._load_data(token, dataset_path)

    def _load_feat(self, filepath, source):
        path = Path(filepath)
        header = self._read_header(path)
        wanted = self._wanted_fields(path, source, header)
        if not wanted:
            return None
        columns = atomic.read_columns(path, wanted, self.reading.field_separator, self.reading.encoding or "utf-8")
        if source != FeatureSource.INTERACTION:
            ids = {self.uid_field, self.iid_field}
            columns = {name: column.stripped() if name in ids else column for name, column in columns.items()}
        rows = next(iter(columns.values())).rows
        if len(rows) == 0:
            remove = "" if source == FeatureSource.INTERACTION else "; fill or remove it"
            raise UserError(f"{path}: it has a header but no rows{remove}")
        if source in (FeatureSource.ITEM, FeatureSource.USER):
            columns = self._each_id_once(columns, self.iid_field if source == FeatureSource.ITEM else self.uid_field)
            rows = next(iter(columns.values())).rows
        if source == FeatureSource.ITEM:
            self.item_words = ItemText(atomic.text_frame(columns), self.iid_field, path)
        self._register(columns, header, source)
        values = {field: self._read(column, header[field], source) for field, column in columns.items()}
        return pd.DataFrame(values, index=rows)

    def _each_id_once(self, columns: dict[str, atomic.Column], field: str) -> dict[str, atomic.Column]:
        """The first row of each id; a warning counts the others, which RecBole would join as further ids."""
        ids = columns.get(field)
        if ids is None:
            return columns
        repeated = pd.Series(ids.tokens().codes).duplicated().to_numpy()
        if not repeated.any():
            return columns
        warnings.warn(
            f"{ids.path}: {repeated.sum()} rows are left out because an earlier row has their {field}; "
            f"the first is row {ids.rows[np.argmax(repeated)]}",
            stacklevel=2,
        )
        return {name: column.keep(~repeated) for name, column in columns.items()}

    def _register(self, fields, header: dict[str, FeatureType], source) -> None:
        """Make fields of a file known to RecBole."""
        for field in fields:
            self.field2source[field], self.field2type[field], self.field2seqlen[field] = source, header[field], 1
            if header[field] in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ):
                self.field2bucketnum[field] = 2

    def _forget(self, fields) -> None:
        for field in fields:
            del self.field2type[field], self.field2source[field], self.field2seqlen[field]

    def _wanted_fields(self, path: Path, source, header: dict[str, FeatureType]) -> set[str]:
        needed = self.needed_fields(source)
        for field, option in needed.items():
            if field not in header:
                raise UserError(
                    f"{path}: there is no field '{field}', which {option} names; it has {', '.join(header)}"
                )
        if source == FeatureSource.INTERACTION:
            return {*needed, *(field for field in self.optional_fields() if field in header)}
        load, unload = self._get_load_and_unload_col(source)
        load = set(header) if load is None else load & set(header)
        return (load - (unload or set())) | set(needed)

    def _read(self, column: atomic.Column, kind: FeatureType, source):
        event = source == FeatureSource.INTERACTION
        if column.name in (self.uid_field, self.iid_field):
            return column.ids()
        if event and column.name == self.time_field:
            return column.times(plausible=True)
        if kind == FeatureType.FLOAT:
            return column.floats(empty=not event)
        if kind == FeatureType.TOKEN:
            return column.tokens(empty=True)
        values = column.sequences(self.reading.seq_separator, kind == FeatureType.FLOAT_SEQ)
        limit = (self.reading.seq_len or {}).get(column.name)
        values = [row[:limit] for row in values] if limit else values
        self.field2seqlen[column.name] = max(map(len, values))
        return pd.Series(values, index=column.rows, dtype=object)

    def _init_alias(self):
        """Ids of the files of `additional_feat_suffix` get numbers, too; RecBole forgets those without an alias."""
        super()._init_alias()
        shared = {str(field) for fields in self.alias.values() for field in fields}
        tokens = {
            field for field, kind in self.field2type.items() if kind in (FeatureType.TOKEN, FeatureType.TOKEN_SEQ)
        }
        more = [field for field, source in self.field2source.items() if isinstance(source, str) and field in tokens]
        self._rest_fields = np.array([*self._rest_fields, *(field for field in more if field not in shared)])

    def get_preload_weight(self, field):
        """As RecBole's; float32, which KSR multiplies its weights with."""
        return super().get_preload_weight(field).astype(np.float32)

    def _remap(self, remap_list):
        """Number the tokens of columns (DataFrame, field, type) that share ids: 1, 2, ... in order of appearance."""
        if not remap_list:
            return
        found = [
            pd.factorize(np.concatenate(feat[field].tolist()).astype(object) if kind in _SEQUENCES else feat[field])
            for feat, field, kind in remap_list
        ]
        codes, tokens = pd.factorize(np.concatenate([np.asarray(words, dtype=object) for _, words in found]))
        tokens = np.array(["[PAD]", *tokens])
        ends = np.cumsum([len(words) for _, words in found])
        parts = zip(remap_list, found, np.split(codes + 1, ends[:-1]), strict=True)
        for (feat, field, kind), (places, _), ids in parts:
            self.field2id_token.setdefault(field, tokens)
            self.field2token_id.setdefault(field, {token: i for i, token in enumerate(tokens)})
            ids = np.append(ids, 0)[places]  # -1, a missing word, finds the 0 of padding
            if kind in _SEQUENCES:
                rows = np.split(ids, np.cumsum(feat[field].map(len))[:-1])
                feat[field] = pd.Series(rows, index=feat.index, dtype=object)
            else:
                feat[field] = ids

    def _fill_nan(self):
        """Missing features: padding for tokens, the mean for numbers, nothing for sequences."""
        for feat in (getattr(self, name) for name in self.feat_name_list):
            for field in feat:
                kind = self.field2type[field]
                if kind == FeatureType.TOKEN:
                    feat[field] = feat[field].fillna(0).astype(np.int64)
                elif kind == FeatureType.FLOAT:
                    feat[field] = feat[field].fillna(feat[field].mean())
                else:
                    empty = np.array([], dtype=np.int64 if kind == FeatureType.TOKEN_SEQ else np.float64)
                    feat[field] = feat[field].map(lambda row, empty=empty: empty if isinstance(row, float) else row)

    def _change_feat_format(self):
        """DataFrames become Interactions. A second call changes nothing, and no history is ever copied."""
        for name in self.feat_name_list:
            feat = getattr(self, name)
            if isinstance(feat, pd.DataFrame):
                setattr(self, name, self._dataframe_to_interaction(feat))

    def _dataframe_to_interaction(self, data: pd.DataFrame) -> Interaction:
        ours = {
            field: data[field]
            for field in data
            if self.field2type[field] in _SEQUENCES and field not in self.stock.numerical_features
        }
        others = super()._dataframe_to_interaction(data[[field for field in data if field not in ours]])
        padded = {field: torch.from_numpy(pad_rows(rows, self.field2seqlen[field])) for field, rows in ours.items()}
        floats = {field: values.float() for field, values in padded.items() if values.is_floating_point()}
        others.update(Interaction({**padded, **floats}))
        return others
