"""An explanation as one HTML page without scripts or other files. Every text of the data goes through ``escape``."""

import importlib.resources
from collections.abc import Iterable
from html import escape

from recbole_conrec.runs.restore import TrainedRun
from recbole_conrec.study.explain import Answer, Explanation
from recbole_conrec.study.item_names import ItemNames, moment

KEY = (
    ("next", "the next item that the user disliked"),
    ("F", "another item that they disliked within the window"),
    ("neighbour", "an item of GTS by Swing alone: close to what they disliked"),
    ("GTS", "the items for which answers are rewarded: F and its Swing neighbours"),
    ("FPS", "the items for which they are fined: what the user liked within the window"),
    ("reward", "from the cosines with the nearest item of GTS and the nearest of FPS"),
    ("log p", "the log-likelihood of the item's semantic ID"),
)
COLUMNS = ("", "item", "log p", "reward", "nearest of GTS", "nearest of FPS")


def page(run: TrainedRun, seen: Explanation) -> str:
    """The page: the prompt, what follows it, and the answers with their rewards and hits."""
    names = ItemNames(run)
    head = f"{run.method} on {run.dataset}: user {seen.user}"
    stage, (lead, _, last) = seen.stage, seen.prompt[0][0].rpartition(" ")
    places = {one.item: place for place, one in enumerate(seen.answers, start=1)}
    hits = sum(one.hit in ("next", "F") for one in seen.answers)
    style = (importlib.resources.files("recbole_conrec.study") / "explain.css").read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(head)}</title>
<style>
{style}</style>
<h1>{escape(head)}</h1>
<p class="dim">{seen.split} instance {seen.number} of {seen.of}, t0 = {moment(seen.t0)}</p>
<section>
<h2>The prompt</h2>
<p class="dim">{seen.tokens} tokens, with titles that the model does not see</p>
<p>{escape(lead)}</p>
<ol class="prompt">
{_lines(_event(words, item, names) for words, item in [(last, seen.prompt[0][1]), *seen.prompt[1:]])}
</ol>
</section>
<section>
<h2>What follows</h2>
<p class="dim">The model does not see this either. A number is the item's place among the answers.</p>
<dl>
{_lines(_future(name, items, places, names) for name, items in seen.future())}
</dl>
</section>
<section>
<h2>The {len(seen.answers)} likeliest answers: {hits} hit{"" if hits == 1 else "s"}</h2>
<p class="dim">Judged by stage {escape(stage.name)}: {escape(str(stage.reward))}, gamma {stage.gamma}, Swing neighbours:
{stage.neighbours}</p>
{_answers(seen.answers, names)}
</section>
<section>
<h2>Words</h2>
<dl>
{_lines(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in KEY)}
</dl>
</section>
</html>
"""


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(parts)


def _item(item: int, names: ItemNames) -> str:
    """A title with its id."""
    if not item:
        return '<span class="dim">-</span>'
    return f'<span class="title">{escape(names.title(item))}</span> <small>({escape(names.id(item))})</small>'


def _event(words: str, item: int, names: ItemNames) -> str:
    if not item:
        return f"<li>{escape(words)} <b>?</b></li>"
    return f"<li>{escape(words)} <code>{escape(names.sid(item))}</code> {_item(item, names)}</li>"


def _future(name: str, items: list[int], places: dict[int, int], names: ItemNames) -> str:
    kind = "fault" if name == "FPS" else "found"
    chips = [
        f'<li class="{kind}">{_item(item, names)} <b>place {places[item]}</b></li>'
        if item in places
        else f"<li>{_item(item, names)}</li>"
        for item in items
    ]
    shown = f'<ul class="chips">{_lines(chips)}</ul>' if chips else "none"
    return f"<div><dt>{name} ({len(items)})</dt><dd>{shown}</dd></div>"


def _answers(answers: list[Answer], names: ItemNames) -> str:
    most = max((abs(one.reward) for one in answers), default=0) or 1
    head = "".join(f'<th scope="col">{column}</th>' for column in COLUMNS)
    lines = [_answer(place, one, most, names) for place, one in enumerate(answers, start=1)]
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{_lines(lines)}\n</tbody>\n</table>"


def _answer(place: int, one: Answer, most: float, names: ItemNames) -> str:
    """A line of the table; ``most``: the largest reward of all answers, by which its bar is measured."""
    mark = f' <mark class="{one.hit}">{one.hit}</mark>' if one.hit else ""
    sign = "minus" if one.reward < 0 else "plus"
    bar = f'<i class="bar {sign}" style="width: {100 * abs(one.reward) / most:.0f}%"></i>'
    cells = [
        str(place),
        f"{_item(one.item, names)}{mark}<br><code>{escape(names.sid(one.item))}</code>",
        f"{one.likelihood:.2f}",
        f'<span class="{sign}">{one.reward:+.3f}</span>{bar}',
        f"{_item(one.gts, names)}<br><small>cosine {one.gts_cosine:.2f}</small>" if one.gts else "-",
        f"{_item(one.fps, names)}<br><small>cosine {one.fps_cosine:.2f}</small>" if one.fps else "-",
    ]
    shown = "".join(f'<td data-label="{label}">{cell}</td>' for label, cell in zip(COLUMNS, cells, strict=True))
    return f'<tr class="{one.hit or "miss"}">{shown}</tr>'
