"""Make or load the semantic IDs of a data set, and say what they are worth: the work of ``recbole-conrec tokenize``."""

import dataclasses
import json
import os
import time
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recbole_conrec.tokenizer.diagnostics import Measure, diagnose
from recbole_conrec.tokenizer.options import parse
from recbole_conrec.tokenizer.pictures import draw
from recbole_conrec.tokenizer.pipeline import assemble, cache_folder, catalogue, encode_items
from recbole_conrec.tokenizer.semantic_ids import SemanticIds

MARK = {True: Text("pass", style="green"), False: Text("WARN", style="bold yellow"), None: Text("")}


def tokenize(config, dataset, out_dir=None, console: Console | None = None) -> SemanticIds:
    """Semantic IDs of ``dataset`` by ``config['tokenizer']``, trained or read from the cache, and a report of them.

    Prints tables with pass and warn bands, and writes ``report.json``, ``codes.png`` and ``map.png`` into ``out_dir``
    (default: beside the IDs in the cache); a given ``out_dir`` gets a copy of the IDs too.
    """
    console = console or Console()
    options = parse(config["tokenizer"])
    items = catalogue(options, dataset)
    folder = cache_folder(config, options, items)
    begin = time.perf_counter()
    cached = (folder / "semantic_ids.json").exists()
    if cached:
        ids = SemanticIds.load(folder)
        vectors = ids.features.encode(items)
        vectors[0] = 0
    else:
        features, vectors = encode_items(options, items)
        ids = assemble(options, items, features, vectors)
        ids.save(folder)
    how = f"read from {folder}" if cached else f"made in {time.perf_counter() - begin:.1f} s, kept in {folder}"
    console.print(
        f"{config['dataset']}: {options.name}, {' x '.join(map(str, ids.sizes))} codes, "
        f"{ids.n_items - 1:,} items; {how}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(_example(ids, items), highlight=False, markup=False, soft_wrap=True)

    with console.status("measuring"):
        found = diagnose(ids, options, items, vectors, _categories(config, dataset))
        out = Path(out_dir) if out_dir else folder
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
    for column, justify in (("", "left"), ("value", "right"), ("good", "left"), ("", "left")):
        table.add_column(column, justify=justify)
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
        console.print(Text.assemble((f"\n{measure.name}: ", "bold yellow"), measure.advice), soft_wrap=True)
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
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(part, path)


def _categories(config, dataset):
    return dataset.item_category()[0] if config["item_category"] else None


def _example(ids: SemanticIds, items) -> str:
    item = next((i for i, text in enumerate(items.texts) if text), 1)
    return f"for instance {ids.text(item)} = {items.texts[item] or 'item ' + items.ids[item]}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
