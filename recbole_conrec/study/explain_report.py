"""An explanation for the terminal; explain_page.py has it as an HTML page."""

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from recbole_conrec.runs.restore import TrainedRun
from recbole_conrec.study.explain import Answer, ExplainOptions, Explanation, explain
from recbole_conrec.study.explain_page import page
from recbole_conrec.study.item_names import ItemNames, moment
from recbole_conrec.utils.files import write_text

NUMBERS = ("", "log p", "reward")  # columns of the table of answers, which never wrap
FIXED = 34  # characters of them and of the hits, with the space between columns
LEAST = 20  # characters of an item in a narrow terminal, which then wraps


def run_explain(run: TrainedRun, options: ExplainOptions, console: Console) -> None:
    """Print the explanation of one instance and, if asked for, write it as a page; see docs/conrec.md."""
    seen = explain(run, options)
    console.print(view(run, seen, console.width))
    if options.out is not None:
        write_text(options.out, page(run, seen))
        console.print(f"page: {options.out}", highlight=False, soft_wrap=True)


def view(run: TrainedRun, seen: Explanation, width: int) -> Group:
    """The explanation as text with styles, for a terminal of ``width`` characters."""
    names = ItemNames(run)
    head = (
        f"{run.method} on {run.dataset}: user {seen.user}, {seen.split} instance {seen.number} of "
        f"{seen.of}, t0 = {moment(seen.t0)}"
    )
    return Group(
        Panel(Text(head, style="bold"), box=box.SQUARE),
        Text(f"\nThe prompt ({seen.tokens} tokens), with titles that the model does not see", style="bold"),
        _prompt(seen, names),
        Text("\nWhat follows, which the model does not see either", style="bold"),
        _future(seen, names),
        Text(f"\nThe {len(seen.answers)} likeliest answers; {reward_words(seen)}", style="bold"),
        _answers(seen.answers, names, max((width - FIXED) // 3, LEAST)),
        Text("hit: next, the next disliked item; F, another of the window; neighbour, in GTS by Swing alone", "dim"),
    )


def reward_words(seen: Explanation) -> str:
    """Which reward judges, in words."""
    stage = seen.stage
    return (
        f"reward of stage {stage.name}: {stage.reward}, gamma {stage.gamma}, {stage.neighbours} Swing "
        f"neighbour{'' if stage.neighbours == 1 else 's'}"
    )


def _prompt(seen: Explanation, names: ItemNames) -> Group:
    """The words before the first event as they are, then one line for each event."""
    lead, _, last = seen.prompt[0][0].rpartition(" ")
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for words, item in [(last, seen.prompt[0][1]), *seen.prompt[1:]]:
        sid, title = (names.sid(item), names.both(item)) if item else ("?", "")
        table.add_row(Text(words), Text(sid, style="cyan"), Text(title, style="dim"))
    return Group(*([Text(lead)] if lead else []), table)


def _future(seen: Explanation, names: ItemNames) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, items in seen.future():
        table.add_row(Text(f"{name} ({len(items)})", style="bold"), Text("; ".join(map(names.both, items)) or "-"))
    return table


def _answers(answers: list[Answer], names: ItemNames, width: int) -> Table:
    """``width``: characters of an item in a line; a title has two lines, with its ID or its cosine below."""
    most = 2 * width - 8  # words do not fill a line
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for column in (*NUMBERS[:1], "item", *NUMBERS[1:], "nearest of GTS", "nearest of FPS", "hit"):
        number = column in NUMBERS
        table.add_column(column, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for place, one in enumerate(answers, start=1):
        table.add_row(
            str(place),
            Text.assemble(names.both(one.item, most), "\n", (names.sid(one.item), "cyan")),
            f"{one.likelihood:.2f}",
            f"{one.reward:+.3f}",
            *(
                Text.assemble(names.both(item, most), (f"\ncosine {cosine:.2f}", "dim")) if item else Text("-")
                for item, cosine in ((one.gts, one.gts_cosine), (one.fps, one.fps_cosine))
            ),
            one.hit,
            style="bold green" if one.hit in ("next", "F") else "",
        )
    return table
