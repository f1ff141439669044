"""HSTU: attention that sums instead of averaging, biased by how far apart events are in place and in time."""

import numpy as np
import torch
import torch.nn.functional as F
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import nn

from recbole_conrec.data.events import FeedbackStream
from recbole_conrec.data.protocol import DataOptions
from recbole_conrec.dense.scores import target_scores
from recbole_conrec.options.schema import Count, Options, Positive, Share

KINDS = 3  # of feedback in a history: padding, like, dislike


class HSTUOptions(Options):
    """Options of HSTU."""

    hidden_size: Count = 64
    """Length of the vectors of items."""
    n_layers: Count = 2
    """Layers."""
    n_heads: Count = 2
    """Heads of each layer."""
    head_size: Count = 32
    """Numbers per head in queries, keys, values and gates; the paper's is hidden_size / n_heads."""
    time_buckets: Count = 64
    """Buckets of the time between two events, each twice as long as the one before it, the first of one second."""
    hidden_dropout_prob: Share = 0.2
    """Dropout of the vectors of items and of what a layer adds."""
    initializer_range: Positive = 0.02
    """Standard deviation of the first weights."""


class HSTULayer(nn.Module):
    """One layer: x [B, L, d] -> x + W2 (norm(A V) * U), with U, V, Q, K = SiLU(W1 norm(x)) and A = SiLU(Q K' + r) / n.

    r, the bias of places and times, float [B, L, L], is shared by the heads; n is the longest history that may be; what
    a query must not see counts 0.
    """

    def __init__(self, options: HSTUOptions, longest: int):
        super().__init__()
        self.longest = longest
        self.shape, size = (options.n_heads, options.head_size), options.n_heads * options.head_size
        self.mix = nn.Linear(options.hidden_size, 4 * size, bias=False)
        self.out = nn.Linear(size, options.hidden_size)
        self.dropout = nn.Dropout(options.hidden_dropout_prob)

    def forward(self, x: torch.Tensor, bias: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """``seen``: bool [B, L, L], the keys that each query may see."""
        parts = F.silu(self.mix(F.layer_norm(x, x.shape[-1:]))).chunk(4, dim=-1)
        gate, values, queries, keys = parts
        heads = (part.unflatten(-1, self.shape).transpose(1, 2) for part in (values, queries, keys))
        values, queries, keys = heads  # [B, heads, L, head_size]
        weights = F.silu(queries @ keys.transpose(-1, -2) + bias[:, None]) * seen[:, None] / self.longest
        summed = (weights @ values).transpose(1, 2).flatten(2)
        return x + self.out(self.dropout(F.layer_norm(summed, summed.shape[-1:]) * gate))


class HSTU(SequentialRecommender):
    r"""Hierarchical sequential transduction units (Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter
    Sequential Transducers for Generative Recommendations", ICML 2024, arXiv 2402.17152), predicting the next dislike:

        x_0 = sqrt(d) e_item + e_feedback + e_place,      x_l = HSTULayer_l(x_(l-1)),      L = CE(x_last . E, y)
        r[i, j] = b_place(i - j) + b_time(log2(t_(i+1) - t_j)),       t after the last event being t0

    Attention weights are not normalised over the history, so that ten dislikes of a kind weigh more than one. The time
    that a query is asked at is known when it is asked, as in the public code: that of the event to predict.

    Departures (ours). Events are RecBole's instances, with a loss on the last place alone, over all items; the public
    code trains every place with sampled items and vectors of length 1. A liked and a disliked item differ by a learned
    vector (``context: both``); the paper's ranking model puts actions between items instead. Times are in buckets of
    powers of 2, as there; its jagged kernels and stochastic length are for sequences of thousands of events.
    """

    OPTIONS = HSTUOptions
    input_type = InputType.POINTWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.options = options = HSTUOptions.of(config)
        self.log, self.stream = dataset.log, FeedbackStream(dataset.log, DataOptions.of(config).kinds)
        self.item_embedding = nn.Embedding(self.n_items, options.hidden_size, padding_idx=0)
        self.place_embedding = nn.Embedding(self.max_seq_length, options.hidden_size)
        self.feedback_embedding = nn.Embedding(KINDS, options.hidden_size, padding_idx=0)
        self.layers = nn.ModuleList(HSTULayer(options, self.max_seq_length) for _ in range(options.n_layers))
        self.place_bias = nn.Parameter(torch.zeros(self.max_seq_length))
        self.time_bias = nn.Parameter(torch.zeros(options.time_buckets))
        self.dropout = nn.Dropout(options.hidden_dropout_prob)
        self.apply(self._first_weights)
        for bias in (self.place_bias, self.time_bias):
            nn.init.normal_(bias, std=options.initializer_range)

    def _first_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Embedding | nn.Linear):
            nn.init.normal_(module.weight, std=self.options.initializer_range)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx])
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def encode(self, interaction) -> torch.Tensor:
        """Float [B, d]: the last place of each history; of an empty one, of a padding item."""
        begin, end, t0 = (interaction[name].cpu().numpy() for name in ("history_begin", "history_end", "t0"))
        rows, lengths = self.stream.last(begin, end, self.max_seq_length)
        width = max(int(lengths.max(initial=0)), 1)
        rows = rows[:, :width]
        shown = rows >= 0
        items, feedback = (np.where(shown, values[rows], 0) for values in (self.log.item, self.log.feedback))
        times = np.where(shown, self.log.time[rows], t0[:, None])  # what follows the last event is asked at t0
        asked = np.concatenate([times[:, 1:], t0[:, None]], axis=1)
        return self._forward(*(torch.from_numpy(part).to(self.device) for part in (items, feedback, times, asked)))[
            torch.arange(len(rows), device=self.device),
            torch.from_numpy(np.maximum(lengths, 1) - 1).to(self.device),
        ]

    def _forward(self, items, feedback, times, asked) -> torch.Tensor:
        """Float [B, L, d] of [B, L] each: items, feedback (0 for padding), times, and when queries are asked."""
        place = torch.arange(items.shape[1], device=items.device)
        x = self.item_embedding(items) * self.options.hidden_size**0.5 + self.place_embedding(place)
        x = self.dropout(x + self.feedback_embedding(feedback.long() % KINDS))
        apart = place[:, None] - place
        seen = (apart >= 0) & (items > 0)[:, None, :]
        bias = self.place_bias[apart.clamp(min=0)] + self.time_bias[self._bucket(asked[:, :, None] - times[:, None, :])]
        for layer in self.layers:
            x = layer(x, bias, seen)
        return F.layer_norm(x, x.shape[-1:])

    def _bucket(self, seconds: torch.Tensor) -> torch.Tensor:
        """The bucket of a time between two events: that of its logarithm; 0 below two seconds."""
        return seconds.clamp(min=1).double().log2().long().clamp(max=self.options.time_buckets - 1)

    def calculate_loss(self, interaction) -> torch.Tensor:
        return F.cross_entropy(self.full_sort_predict(interaction), interaction[self.POS_ITEM_ID])

    def full_sort_predict(self, interaction) -> torch.Tensor:
        return self.encode(interaction) @ self.item_embedding.weight.T

    def predict(self, interaction) -> torch.Tensor:
        return target_scores(self, interaction)
