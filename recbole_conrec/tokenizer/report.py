"""Make or load the semantic IDs of a data set, and measure them: the work of ``recbole-conrec tokenize``."""

import dataclasses
import time
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text as RichText

from recbole_conrec.options.schema import Options, Text
from recbole_conrec.tokenizer.diagnostics import Measure, diagnose
from recbole_conrec.tokenizer.inputs import Items
from recbole_conrec.tokenizer.pictures import draw
from recbole_conrec.tokenizer.pipeline import IdsOptions, assemble, catalogue, encode_items, fit_for, load_cached
from recbole_conrec.tokenizer.semantic_ids import SemanticIds
from recbole_conrec.utils.files import write_json

MARK = {True: RichText("pass", style="green"), False: RichText("WARN", style="bold yellow"), None: RichText("")}


class TokenizeOptions(Options):
    """Options of ``recbole-conrec tokenize``; it takes those of a run as well."""

    out: Text | None = None
    """Folder for the report, the pictures and a copy of the IDs; null: report and pictures beside the cached IDs."""
    model: Text = "CoNRec"
    """Method whose options, `tokenizer` among them, are used."""
    dataset: Text | None = None
    """Name of the data set; null: as for a run."""
    stability: bool = True
    """Whether to measure how many codes noise and another seed leave; the second fit takes as long as the first."""


class _RunOptions(IdsOptions):
    """What the report reads of a run's options."""

    item_category: Text | None = None
    """Item field with categories; null: their purity is not measured."""


def tokenize(config, dataset, options: TokenizeOptions | None = None, console: Console | None = None) -> SemanticIds:
    """Semantic IDs of ``dataset`` by ``config['tokenizer']``, made or read from the cache, and a report about them.

    Prints tables with pass and warn bands, and writes ``report.json``, ``codes.png`` and ``map.png``.
    """
    options, console = options or TokenizeOptions(), console or Console()
    run = _RunOptions.of(config)
    run = run.model_copy(update={"tokenizer": fit_for(run.tokenizer, dataset)})
    categories = dataset.item_category()[0] if run.item_category else None
    items = catalogue(run.tokenizer, dataset)
    folder = run.cache_folder(items)
    begin = time.perf_counter()
    cached = load_cached(folder)
    if cached is not None:
        ids = cached
        vectors = ids.fitted_features.encode(items)
        vectors[0] = 0
    else:
        features, vectors = encode_items(run.tokenizer, items)
        ids = assemble(run.tokenizer, items, features, vectors)
        ids.save(folder)
    how = (
        f"read from {folder}"
        if cached is not None
        else f"made in {time.perf_counter() - begin:.1f} s, kept in {folder}"
    )
    console.print(
        f"{dataset.dataset_name}: {run.tokenizer.name}, {' x '.join(map(str, ids.sizes))} codes, "
        f"{ids.n_items - 1:,} items; {how}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(_example(ids, items), highlight=False, markup=False, soft_wrap=True)

    with console.status("measuring"):
        found = diagnose(ids, run.tokenizer, items, vectors, categories, stability=options.stability)
        out = Path(options.out) if options.out else folder
        pictures = draw(ids, vectors, out)
    if out != folder:
        ids.save(out)
    write(found, ids, out / "report.json")
    show(found, console)
    console.print(
        f"\nwritten: {', '.join(str(p) for p in (out / 'report.json', *pictures))}", highlight=False, soft_wrap=True
    )
    return ids


def show(found: list[Measure], console: Console) -> None:
    """The table, then what to do about each warning."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("good")
    table.add_column("")
    for measure, following in zip(found, [*found[1:], None], strict=True):
        values = measure.value if isinstance(measure.value, list) else [measure.value]
        table.add_row(
            measure.name,
            " ".join(map(_number, values)),
            measure.band,
            MARK[measure.good],
            end_section=following is not None and following.group != measure.group,
        )
    console.print(table)
    warnings = [m for m in found if m.good is False]
    for measure in warnings:
        console.print(RichText.assemble((f"\n{measure.name}: ", "bold yellow"), measure.advice), soft_wrap=True)
    if not warnings:
        console.print("\nall within their bands", style="green")


def write(found: list[Measure], ids: SemanticIds, path: Path) -> None:
    """The measures as JSON, with the options and the fingerprint of the IDs."""
    content = {
        "fingerprint": ids.fingerprint,
        "sizes": ids.sizes,
        "info": ids.info,
        "measures": [dataclasses.asdict(m) for m in found],
    }
    write_json(path, content)


def _example(ids: SemanticIds, items: Items) -> str:
    item = next((i for i, text in enumerate(items.texts) if text), 1)
    return f"for instance {ids.text(item)} = {items.texts[item] or 'item ' + items.ids[item]}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
