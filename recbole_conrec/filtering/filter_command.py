"""The subcommand ``filter``: a file of candidates in, the kept ones (or all, marked) out, without the model."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from recbole_conrec.filtering.files import filter_file
from recbole_conrec.filtering.online import NegativeFilter
from recbole_conrec.options.schema import Number, Options, Text
from recbole_conrec.utils.id_files import NAMED


class FilterOptions(Options):
    """Options of ``recbole-conrec filter``."""

    sets: Text
    """Folder of Predict Sets."""
    candidates: Text
    """File of candidates, a user and an item per row: .parquet, .csv or .jsonl."""
    out: Text
    """File to which the result is written: .parquet, .csv or .jsonl."""
    theta: Annotated[Number, Field(ge=-1, le=1)] | None = None
    """Cosine above which a candidate is dropped; null: the calibrated one."""
    new_items: Text | None = None
    """Atomic .item file whose items are added to the catalogue."""
    user_field: Text | None = None
    """Column of the user ids; null: named as in the data set."""
    item_field: Text | None = None
    """Column of the item ids; null: named as in the data set."""
    drop: bool = False
    """Leave out the rows that are not kept, instead of marking them."""
    verify: bool = True
    """Compare the sha256 of the sets' files with the manifest, not only their sizes."""


def filter_command(options: FilterOptions) -> None:
    """Filter a file of candidates and print the counts; see docs/filtering.md."""
    negative = NegativeFilter.load(options.sets, theta=options.theta, verify=options.verify)
    if options.new_items is not None:
        print(f"{add_items(negative, options.new_items):,} new items in {options.new_items}")
    counts, names = filter_file(
        negative,
        options.candidates,
        options.out,
        user_field=options.user_field,
        item_field=options.item_field,
        drop=options.drop,
    )
    unknown = "".join(
        f", {counts[f'unknown_{kind}']:,} of unknown {kind} (kept)" for kind in names if counts[f"unknown_{kind}"]
    )
    print(f"{counts['candidates']:,} candidates, {counts['dropped']:,} dropped{unknown}; written to {options.out}")
    for kind, some in names.items():
        if some:
            print(f"unknown {kind}: {', '.join(some)}{', ...' if len(some) == NAMED else ''}")


def add_items(negative: NegativeFilter, file) -> int:
    """Add the items of an atomic ``.item`` file to a filter.

    Their texts consist of the same fields as the catalogue's. Returns the number of new items; raises UserError naming
    the file if it lacks a field.
    """
    from recbole_conrec.data import atomic  # needs RecBole, which filtering does not
    from recbole_conrec.data.items import ItemText

    path = Path(file)
    ids, fields = negative.manifest["data"]["item_field"], negative.manifest["tokenizer"]["fields"]
    columns = atomic.read_columns(path, [ids, *fields] if fields else None)
    text = atomic.text_frame({**columns, ids: columns[ids].stripped()})
    return negative.add_items(text[ids].tolist(), ItemText(text, ids, path).join(text[ids].to_numpy(), fields))
