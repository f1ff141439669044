"""An explanation for the terminal and as an HTML page."""

import io

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from recbole_conrec.runs.restore import TrainedRun
from recbole_conrec.study.explain import Answer, ExplainOptions, Explanation, explain
from recbole_conrec.utils.files import write_text

COLUMNS = ("", "generation", "item", "log p", "reward", "GTS", "nearest of it", "FPS", "nearest of it", "hit")
NUMBERS = {"", "log p", "reward", "GTS", "FPS"}
WIDTH = 24  # characters of a title in the table of answers


def run_explain(run: TrainedRun, options: ExplainOptions, console: Console) -> None:
    """Print the explanation of one instance and, if asked for, write it as a page; see docs/conrec.md."""
    shown = view(run, explain(run, options))
    console.print(shown)
    if options.out is not None:
        write_html(shown, options.out)
        console.print(f"page: {options.out}", highlight=False, soft_wrap=True)


def view(run: TrainedRun, seen: Explanation) -> Group:
    """The explanation as text with styles."""
    names = _Names(run)
    head = (
        f"{run.method} on {run.dataset}: user {seen.user}, {seen.split} instance {seen.number} of "
        f"{seen.of}, t0 = {seen.t0}"
    )
    reward = (
        f"reward of stage {seen.stage.name}: {seen.stage.reward}, gamma {seen.stage.gamma}, {seen.stage.neighbours} "
        "Swing neighbours"
    )
    prompt = [
        Text.assemble(f"{words} ", (names.sid(item), "cyan"), (f"  {names.title(item)}" if item else "?", "dim"))
        for words, item in seen.prompt
    ]
    return Group(
        Panel(Text(head, style="bold"), box=box.SQUARE),
        Text(f"\nThe prompt ({seen.tokens} tokens), with titles that the model does not see", style="bold"),
        *prompt,
        Text("\nWhat follows, which the model does not see either", style="bold"),
        _future(seen, names),
        Text(f"\nThe {len(seen.answers)} likeliest answers; {reward}", style="bold"),
        _answers(seen.answers, names),
    )


class _Names:
    """Items by their titles, ids and semantic IDs."""

    def __init__(self, run: TrainedRun):
        self._titles, self._tokens = run.data.item_text(), run.data.field2id_token[run.data.iid_field]
        self.sid = run.semantic_ids.text

    def title(self, item: int, width: int | None = None) -> str:
        """'The title (id)', the title cut to ``width`` characters; '-' for item 0."""
        if not item:
            return "-"
        title = self._titles[item] or "item"
        cut = title if width is None or len(title) <= width else f"{title[:width]}…"
        return f"{cut} ({self._tokens[item]})"


def _future(seen: Explanation, names: _Names) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    for name, items in (
        ("next", [seen.next]),
        ("F", seen.f),
        ("GTS beyond F", [item for item in seen.gts if item not in seen.f]),
        ("FPS", seen.fps),
    ):
        table.add_row(Text(f"{name} ({len(items)})", style="bold"), Text("; ".join(map(names.title, items)) or "-"))
    return table


def _answers(answers: list[Answer], names: _Names) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for column in COLUMNS:
        number = column in NUMBERS
        table.add_column(column, justify="right" if number else "left", no_wrap=number or column == "generation")
    for place, one in enumerate(answers, start=1):
        table.add_row(
            str(place),
            Text(names.sid(one.item), style="cyan"),
            Text(names.title(one.item, WIDTH)),
            f"{one.likelihood:.2f}",
            f"{one.reward:+.3f}",
            f"{one.gts_cosine:.2f}",
            Text(names.title(one.gts, WIDTH)),
            f"{one.fps_cosine:.2f}",
            Text(names.title(one.fps, WIDTH)),
            one.hit,
            style="bold green" if one.hit in ("next", "F") else "",
        )
    return table


def write_html(shown: Group, file) -> None:
    """A view as one self-contained page."""
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(shown)
    write_text(file, console.export_html(inline_styles=True))
