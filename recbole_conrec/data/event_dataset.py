"""EventDataset: the events of an .inter file, each with its feedback, in one log."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from recbole.utils import FeatureSource

from recbole_conrec.data import cache
from recbole_conrec.data.events import NEGATIVE, POSITIVE, EventLog
from recbole_conrec.data.loading import AtomicDataset
from recbole_conrec.data.protocol import DataOptions, Protocol
from recbole_conrec.data.user_statistics import TrainingEvents

_FEEDBACK = "feedback of the event"  # our column beside the file's; no field has a name with spaces
_ROW = "row of the event"  # the same, for rules that need users and times


class EventDataset(AtomicDataset):
    """Reads all events once and labels them by the feedback rules of the protocol.

    Attributes:
        log: EventLog of all events.
        protocol: the checked options of the protocol.
        options: the checked options of what a method sees.
    """

    log: EventLog
    _known_before: np.ndarray | None = None  # where rules compare with statistics of users, see SplitRule

    def __init__(self, config):
        self.protocol = Protocol.of(config)
        self.options = DataOptions.of(config)
        super().__init__(config)

    def needed_fields(self, source):
        needed = super().needed_fields(source)
        if source == FeatureSource.INTERACTION:
            needed |= {field: f"the feedback rule '{rule}'" for field, rule in self.protocol.feedback.fields.items()}
        if source == FeatureSource.ITEM:
            needed |= dict.fromkeys(self.options.item_text or (), "item_text")
            needed |= {self.options.item_category: "item_category"} if self.options.item_category else {}
        return needed

    def optional_fields(self):
        return set(self.protocol.val_interval or ())

    def _load_inter_feat(self, token, dataset_path):
        """The events with their feedback: parsed, or from the cache in `checkpoint_dir`/events."""
        path, reading = Path(dataset_path) / f"{token}.inter", self.reading
        header = self._read_header(path)
        fields = self._wanted_fields(path, FeatureSource.INTERACTION, header)
        rules = self.protocol.feedback
        needless = set(rules.fields) - set(super().needed_fields(FeatureSource.INTERACTION)) - self.optional_fields()
        texts = {kind: rule.text for kind, rule in rules.rules.items()}
        key = cache.key(
            {
                "events": self.events_digest,
                "fields": sorted(fields),
                "needless": sorted(needless),
                "read_with": [reading.field_separator, reading.encoding, reading.seq_separator, reading.seq_len],
                "rules": [texts.get(kind) for kind in (NEGATIVE, POSITIVE)],
                "names": [self.uid_field, self.iid_field, self.time_field],
            }
        )
        file = Path(self.stock.checkpoint_dir) / "events" / f"{token}-{key}.arrow"
        self.inter_feat = cache.load(file, key)
        if self.inter_feat is None:
            events = self._load_feat(str(path), FeatureSource.INTERACTION)
            if rules.by_user:  # labelled when users, times and so the training events are known
                events[_ROW] = events.index
                needless = set()
            else:
                events[_FEEDBACK] = rules.label(events, path.name)
            self._forget(needless)
            self.inter_feat = events.drop(columns=list(needless)).reset_index(drop=True)
            cache.save(file, key, self.inter_feat)
        pa.default_memory_pool().release_unused()  # what reading took; the log is made next
        self._register(set(self.inter_feat) - {_FEEDBACK, _ROW}, header, FeatureSource.INTERACTION)

    def _remap_ID_all(self):  # noqa: N802  (RecBole's name)
        """Once ids are numbers, the log takes the events; RecBole's `inter_feat` will hold the instances."""
        rules = self.protocol.feedback
        judged = self.inter_feat[[*rules.fields, _ROW]].copy() if rules.by_user else None
        super()._remap_ID_all()
        events = self.inter_feat
        user, item, time = (events[name].to_numpy() for name in (self.uid_field, self.iid_field, self.time_field))
        if judged is None:
            feedback = events[_FEEDBACK].to_numpy()
        else:
            unlabelled = EventLog.from_arrays(user, item, time, np.zeros(len(user)), self.user_num, self.item_num)
            self._known_before = self.protocol.split.known_before(unlabelled)
            training = TrainingEvents(user, time < self._known_before[user], self.user_num)
            feedback = rules.label(judged.set_index(_ROW), f"{self.dataset_name}.inter", training)
        self.log = EventLog.from_arrays(user, item, time, feedback, self.user_num, self.item_num)
        self.inter_feat = events[[self.uid_field, self.iid_field]].iloc[:0].copy()
        self._forget(set(events) - {self.uid_field, self.iid_field, _FEEDBACK, _ROW})
