"""RecBole's DIEN with labels of feedback."""

from recbole.model import sequential_recommender as stock

from recbole_conrec.dense.feedback_labels import FeedbackLabels


class DIEN(FeedbackLabels, stock.DIEN):
    """Deep Interest Evolution Network (Zhou et al., AAAI 2019): will the user dislike this item? See
    :class:`FeedbackLabels`. The items that its auxiliary loss contrasts with the history are drawn uniformly.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        extractor = self.interset_extractor
        original = extractor.auxiliary_loss

        def auxiliary_loss(states, clicked, others, lengths):
            """RecBole's, which is NaN for a batch in which no history has a second event."""
            return original(states, clicked, others, lengths) if (lengths > 0).any() else states.sum() * 0

        extractor.auxiliary_loss = auxiliary_loss
