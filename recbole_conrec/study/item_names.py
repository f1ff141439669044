"""Items of a run by their titles, ids and semantic IDs, and times as dates."""

from datetime import datetime, timezone

from recbole_conrec.runs.restore import TrainedRun

REAL = range(10**8, 4 * 10**9)  # seconds that are a date of 1973 to 2096; other data count from somewhere else


class ItemNames:
    """The words for a run's items."""

    def __init__(self, run: TrainedRun):
        self._titles, self._ids = run.data.item_text(), run.data.field2id_token[run.data.iid_field]
        self.sid = run.semantic_ids.text

    def title(self, item: int) -> str:
        """The title as the data have it; '-' for item 0."""
        return (self._titles[item] or "item") if item else "-"

    def id(self, item: int) -> str:
        """The id as in the data files."""
        return str(self._ids[item])

    def both(self, item: int, width: int | None = None) -> str:
        """'The title (id)' in at most ``width`` characters, by cutting the title; '-' for item 0."""
        title, behind = self.title(item), f" ({self.id(item)})" if item else ""
        if width is not None and len(title) + len(behind) > width:
            title = f"{title[: max(width - len(behind) - 1, 1)]}…"
        return title + behind


def moment(t0: int) -> str:
    """'881250949 (1997-12-04 15:55 UTC)', or the number alone where it is no date."""
    return f"{t0} ({datetime.fromtimestamp(t0, timezone.utc):%Y-%m-%d %H:%M} UTC)" if t0 in REAL else str(t0)
