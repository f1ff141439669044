"""RQ-VAE on vector-quantize-pytorch's residual layers (CoNRec's loss; TIGER; LC-Rec; LETTER).

With R^(1) = E(X), Z^(d) the code of level d nearest to R^(d), R^(d+1) = R^(d) - Z^(d) and X^ = sum_d Z^(d):

    L = ||X - D(X^)||^2 + lambda * sum_d ( ||R^(d) - sg[Z^(d)]||^2 + ||sg[R^(d)] - Z^(d)||^2 ) + alpha * L_cf

The second term in the brackets is the codebooks' exponential moving average. Gradients pass the codes straight
through, or by the rotation trick (arXiv 2410.06424).

Without ``latent``, E is one linear layer that starts as the identity and D is the identity: X^ then reconstructs the
item's own vector, which is CoNRec's loss to the letter, and the sums of code vectors are in the space of X. With
``latent``, E and D are mirrored perceptrons (TIGER, LC-Rec) and the code vectors are in E's latent space.

L_cf is LETTER's collaborative term, InfoNCE between the quantised item and its behaviour vector h over a batch B:
    L_cf = - 1/|B| sum_i log( exp(cos(P x^_i, h_i) / tau) / sum_{j in B} exp(cos(P x^_i, h_j) / tau) )
with a learned linear map P (in LETTER the two have equal dimensions); items without behaviour do not count.
"""

import contextlib
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from pydantic import Field, field_serializer, model_validator
from torch import nn
from torch.nn.functional import cross_entropy, normalize
from tqdm import trange
from typing_extensions import Self

from recbole_conrec.options import schema
from recbole_conrec.tokenizer.behaviour import Behaviour, BehaviourOptions
from recbole_conrec.tokenizer.fitting import Fit, FitInput
from recbole_conrec.tokenizer.inputs import Items
from recbole_conrec.tokenizer.kmeans import kmeans
from recbole_conrec.tokenizer.quantise import nearest

if TYPE_CHECKING:
    from vector_quantize_pytorch import ResidualVQ

START = 65_536  # most vectors that the k-means start sees
CHUNK = 8_192  # vectors that go through the trained network at a time


class Options(schema.Options):
    """Options of the tokenizer ``rqvae``."""

    steps: schema.Count | None = None
    """Adam steps; null: 200, which suits the start at the identity, or 1000 with ``latent``, which starts at random."""
    batch: schema.Count | None = None
    """Items in a step, drawn with replacement; null: 2048, or 512 with ``latent``."""
    lr: schema.Positive | None = None
    """Learning rate; null: 3e-4, or 3e-3 with ``latent``."""
    commitment: schema.NonNegative = 0.25
    """lambda, the weight of the commitment loss."""
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Decay of the codebooks' exponential moving average, per step."""
    dead_code: schema.Share = 0.125
    """A code that is used less than this share of equal use (moving average) restarts at a random residual; 0: never.
    A share and not a count, since with 8192 codes and 2048 items a batch a code sees a quarter of an item."""
    rotation_trick: bool = False
    """Gradients through the codes by the rotation trick instead of straight through."""
    latent: schema.Count | None = None
    """Dimensions of the latent space; null: the codes are in the space of X."""
    hidden: schema.Several[schema.Count] = ()
    """Widths of E's hidden layers, which D mirrors; only with ``latent``."""
    contrastive: schema.NonNegative = 0.0
    """alpha, the weight of LETTER's collaborative term; 0: off. LETTER searches 0.001 to 0.1."""
    temperature: schema.Positive = 0.1
    """tau, the temperature of LETTER's term."""
    behaviour: BehaviourOptions = BehaviourOptions(dim=32)
    """The behaviour vector h of LETTER's term; replaced as a whole."""

    @model_validator(mode="after")
    def _hidden_needs_latent(self) -> Self:
        if self.hidden and self.latent is None:
            raise ValueError("hidden layers need a latent space; set latent, e.g. to 32")
        return self

    @field_serializer("behaviour")
    def _as_given(self, behaviour: BehaviourOptions) -> dict[str, Any]:
        return behaviour.model_dump(exclude_unset=True)

    def schedule(self) -> tuple[int, int, float]:
        """The steps, batch and lr that are used, defaults filled in."""
        steps, batch, lr = (200, 2048, 3e-4) if self.latent is None else (1000, 512, 3e-3)
        return (
            steps if self.steps is None else self.steps,
            batch if self.batch is None else self.batch,
            lr if self.lr is None else self.lr,
        )


def fit(given: FitInput, options: Options) -> Fit:
    """Codebooks and E's layers. The global random state is left as it was.

    One thread trains, since sums of several are rounded in another order. Processors still differ (docs/tokenizer.md).
    """
    vectors, behaviour = given.known(), None
    if options.contrastive:
        items = Items([""] * len(given.vectors), interactions=given.interactions)
        behaviour = Behaviour(options.behaviour, given.seed).fit(items)[given.content]
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(given.seed)
        return _train(torch.from_numpy(vectors), given.sizes, options, behaviour, given.seed)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train(vectors: torch.Tensor, sizes: list[int], options: Options, behaviour: np.ndarray | None, seed: int) -> Fit:
    """Start at the residual k-means, then minimise L; behaviour: h [n, any], needed for a contrastive term."""
    n, dim = vectors.shape
    steps, batch, lr = options.schedule()
    batch = min(batch, n)
    encoder, decoder = _networks(dim, options)
    width = options.latent or dim
    quantiser = _quantiser(width, sizes, batch, options)
    modules, contrast = nn.ModuleList([encoder, decoder]), None
    if behaviour is not None:
        contrast = _Contrast(width, torch.from_numpy(behaviour), options.temperature)
        modules.append(contrast)
    optimiser = torch.optim.Adam(modules.parameters(), lr=lr)

    with torch.no_grad():
        _start(quantiser, encoder(vectors[torch.randperm(n)[:START]]).numpy(), sizes, batch, seed)
    bar = trange(steps, desc="rqvae", leave=False, disable=None)
    for _ in bar:
        rows = torch.randint(n, (batch,))
        x = vectors[rows]
        quantised, _, commitment = quantiser(encoder(x)[None])
        quantised = quantised[0]
        error = (x - decoder(quantised)).square().sum(dim=1).mean()
        loss = error + options.commitment * width * commitment.sum()  # the layers' terms are means over dimensions
        if contrast is not None:
            loss = loss + options.contrastive * contrast(quantised, rows)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        bar.set_postfix(error=f"{error.item():.4f}", refresh=False)
    return _trained(vectors, encoder, decoder, quantiser, options)


def _trained(
    vectors: torch.Tensor, encoder: nn.Module, decoder: nn.Module, quantiser: "ResidualVQ", options: Options
) -> Fit:
    """The trained network and codebooks as arrays, and its error on ``vectors``."""
    layers = [
        (m.weight.detach().numpy().copy(), m.bias.detach().numpy().copy())
        for m in encoder.modules()
        if isinstance(m, nn.Linear)
    ]
    with torch.no_grad():
        quantiser.eval()
        decoded = [(x - decoder(quantiser(encoder(x)[None])[0][0])).square().sum() for x in vectors.split(CHUNK)]
        spread = (vectors - vectors.mean(dim=0)).square().sum()
    info = {"error_through_decoder": float(torch.stack(decoded).sum() / spread.clamp(min=1e-12))}
    codebooks = [layer.codebook.detach().numpy().copy() for layer in quantiser.layers]
    if options.latent is not None:  # centre the latent space: only cosines change, which then separate items
        with torch.no_grad():
            mean = torch.cat([encoder(x) for x in vectors.split(CHUNK)]).mean(dim=0).numpy()
        layers[-1] = (layers[-1][0], layers[-1][1] - mean)
        codebooks[0] -= mean
    return Fit(codebooks, layers=layers, latent=options.latent is not None, info=info)


def _quantiser(width: int, sizes: list[int], batch: int, options: Options) -> "ResidualVQ":
    from vector_quantize_pytorch import ResidualVQ  # seconds to import, so only where it is used

    quantiser = ResidualVQ(
        dim=width,
        codebook_size=tuple(sizes),
        decay=options.decay,
        threshold_ema_dead_code=options.dead_code,
        commitment_weight=1.0,
        rotation_trick=options.rotation_trick,
    )
    for layer, size in zip(quantiser.layers, sizes, strict=True):  # the layers count items per batch
        state = layer._codebook
        state.threshold_ema_dead_code = state.reset_cluster_size = options.dead_code * batch / size
    return quantiser


def _start(quantiser: "ResidualVQ", vectors: np.ndarray, sizes: list[int], batch: int, seed: int) -> None:
    """Set codebooks and their moving averages to the residual k-means of ``vectors``, as if after many batches.

    The layers' own k-means starts at random vectors and often leaves two clusters in one code; ours is k-means++.
    """
    residual = vectors.copy()
    for level, (layer, size) in enumerate(zip(quantiser.layers, sizes, strict=True)):
        centroids = kmeans(residual, size, seed=seed + level)
        index = nearest(residual, centroids)
        residual -= centroids[index]
        state = layer._codebook
        count = torch.from_numpy(np.bincount(index, minlength=size) * (batch / len(vectors))).float()
        state.embed.copy_(torch.from_numpy(centroids)[None])
        state.cluster_size.copy_(count[None])
        state.embed_avg.copy_(state.embed * count[None, :, None])


class _Contrast(nn.Module):
    """LETTER's term, with its learned map P from ``width`` dimensions to those of ``behaviour`` [n, any]."""

    def __init__(self, width: int, behaviour: torch.Tensor, temperature: float):
        super().__init__()
        self.behaviour, self.temperature = normalize(behaviour, dim=1), temperature
        self.head = nn.Linear(width, behaviour.shape[1], bias=False)

    def forward(self, quantised: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return contrastive_loss(self.head(quantised), self.behaviour[rows], self.temperature)


def contrastive_loss(items: torch.Tensor, behaviour: torch.Tensor, temperature: float) -> torch.Tensor:
    """InfoNCE of ``items`` [b, d] against unit ``behaviour`` [b, d], over the rows whose behaviour is not zero."""
    known = (behaviour != 0).any(dim=1)
    scores = normalize(items[known], dim=1) @ behaviour[known].T / temperature
    return cross_entropy(scores, torch.arange(len(scores))) if len(scores) > 1 else items.sum() * 0


def _networks(dim: int, options: Options) -> tuple[nn.Module, nn.Module]:
    if options.latent is None:
        linear = nn.Linear(dim, dim)
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
        return linear, nn.Identity()
    widths = [dim, *options.hidden, options.latent]
    return _perceptron(widths), _perceptron(widths[::-1])


def _perceptron(widths: list[int]) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
