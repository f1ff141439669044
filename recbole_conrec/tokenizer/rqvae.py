"""RQ-VAE on vector-quantize-pytorch's residual layers (CoNRec's loss; TIGER; LC-Rec; LETTER).

With R^(1) = E(X), Z^(d) the code of level d nearest to R^(d), R^(d+1) = R^(d) - Z^(d) and X^ = sum_d Z^(d):

    L = ||X - D(X^)||^2 + lambda * sum_d ( ||R^(d) - sg[Z^(d)]||^2 + ||sg[R^(d)] - Z^(d)||^2 ) + alpha * L_cf

The second term in the brackets is the codebooks' exponential moving average. Gradients pass the codes straight
through, or by the rotation trick (arXiv 2410.06424).

Without ``latent``, E is one linear layer that starts as the identity and D is nothing: X^ then reconstructs the
item's own vector, which is CoNRec's loss to the letter, and the sums of code vectors live in the space of X. With
``latent``, E and D are mirrored perceptrons (TIGER, LC-Rec) and the code vectors live in E's latent space.

L_cf is LETTER's collaborative term, InfoNCE between the quantised item and its behaviour vector h over a batch B:
    L_cf = - 1/|B| sum_i log( exp(cos(P x^_i, h_i) / tau) / sum_{j in B} exp(cos(P x^_i, h_j) / tau) )
with a learned linear map P (in LETTER the two have equal dimensions); items without behaviour do not count.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import trange
from vector_quantize_pytorch import ResidualVQ

from recbole_conrec.tokenizer.behaviour import Behaviour
from recbole_conrec.tokenizer.fitting import Fit, Task
from recbole_conrec.tokenizer.inputs import Items
from recbole_conrec.tokenizer.quantise import nearest
from recbole_conrec.tokenizer.rqkmeans import kmeans
from recbole_conrec.utils.errors import UserError

START = 65_536  # vectors that the k-means start sees at most


@dataclass(frozen=True)
class Options:
    """
    steps, batch, lr: Adam steps, items in each (drawn with replacement), learning rate. null: 200, 2048 and 3e-4, which
        suit the identity start; with ``latent``, where all begins at random: 1000, 512 and 3e-3.
    commitment: lambda.
    decay: of the codebooks' moving average.
    dead_code: a code that is used less than this share of equal use (moving average) restarts at a random residual;
        0: never. A share and not a count, since with 8192 codes and 2048 items a batch a code sees a quarter item.
    rotation_trick: gradients through the codes by rotation instead of straight through.
    latent: dimensions of the codes' space; null keeps X's own (see above).
    hidden: widths of E's hidden layers (D mirrors them); only with ``latent``.
    contrastive: alpha, the weight of LETTER's term; 0 is off. LETTER searches 0.001 to 0.1 for it.
    temperature: tau.
    behaviour: {dim, feedback} of h (see behaviour.py).
    """

    steps: int | None = None
    batch: int | None = None
    lr: float | None = None
    commitment: float = 0.25
    decay: float = 0.9
    dead_code: float = 0.125
    rotation_trick: bool = False
    latent: int | None = None
    hidden: tuple[int, ...] = ()
    contrastive: float = 0.0
    temperature: float = 0.1
    behaviour: dict = field(default_factory=lambda: {"dim": 32})

    def schedule(self) -> tuple[int, int, float]:
        """steps, batch and lr, defaults filled in."""
        usual = (200, 2048, 3e-4) if self.latent is None else (1000, 512, 3e-3)
        given = (self.steps, self.batch, self.lr)
        return tuple(u if g is None else g for g, u in zip(given, usual, strict=True))


def fit(task: Task, options: Options) -> Fit:
    """Codebooks and E's layers. The global random state is left as it was."""
    vectors, behaviour = task.known(), None
    if options.hidden and options.latent is None:
        raise UserError(
            "tokenizer.rqvae.hidden: hidden layers need a latent space; set tokenizer.rqvae.latent (e.g. 32)"
        )
    if options.contrastive:
        items = Items([""] * len(task.vectors), interactions=task.interactions)
        behaviour = Behaviour(**options.behaviour, seed=task.seed).fit(items)[task.content]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        return _train(torch.from_numpy(vectors), task.sizes, options, behaviour, task.seed)


def _train(vectors: torch.Tensor, sizes, options: Options, behaviour, seed: int) -> Fit:
    n, dim = vectors.shape
    steps, batch, lr = options.schedule()
    batch = min(batch, n)
    encoder, decoder = _networks(dim, options)
    width = options.latent or dim
    quantiser = ResidualVQ(
        dim=width,
        codebook_size=tuple(sizes),
        decay=options.decay,
        threshold_ema_dead_code=options.dead_code,
        commitment_weight=1.0,
        rotation_trick=options.rotation_trick,
    )
    for layer, size in zip(quantiser.layers, sizes, strict=True):  # which count items per batch
        state = layer._codebook
        state.threshold_ema_dead_code = state.reset_cluster_size = options.dead_code * batch / size
    modules = nn.ModuleList([encoder, decoder])
    if options.contrastive:
        behaviour = F.normalize(torch.from_numpy(behaviour), dim=1)
        head = nn.Linear(width, behaviour.shape[1], bias=False)
        modules.append(head)
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
        if options.contrastive:
            loss = loss + options.contrastive * contrastive_loss(head(quantised), behaviour[rows], options.temperature)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        bar.set_postfix(error=f"{error.item():.4f}", refresh=False)

    layers = [
        (m.weight.detach().numpy().copy(), m.bias.detach().numpy().copy())
        for m in encoder.modules()
        if isinstance(m, nn.Linear)
    ]
    with torch.no_grad():
        quantiser.eval()
        decoded = [(x - decoder(quantiser(encoder(x)[None])[0][0])).square().sum() for x in vectors.split(8192)]
        spread = (vectors - vectors.mean(dim=0)).square().sum()
    info = {"error_through_decoder": float(torch.stack(decoded).sum() / spread.clamp(min=1e-12))}
    codebooks = [layer.codebook.detach().numpy().copy() for layer in quantiser.layers]
    if options.latent is not None:  # move the latent space to its mean: nothing changes but cosines, which then tell
        with torch.no_grad():  # items apart
            mean = torch.cat([encoder(x) for x in vectors.split(8192)]).mean(dim=0).numpy()
        layers[-1] = (layers[-1][0], layers[-1][1] - mean)
        codebooks[0] -= mean
    return Fit(codebooks, layers=layers, latent=options.latent is not None, info=info)


def _start(quantiser: ResidualVQ, vectors: np.ndarray, sizes: list[int], batch: int, seed: int) -> None:
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


def contrastive_loss(items: torch.Tensor, behaviour: torch.Tensor, temperature: float) -> torch.Tensor:
    """InfoNCE of ``items`` [b, d] against unit ``behaviour`` [b, d], over the rows whose behaviour is not zero."""
    known = (behaviour != 0).any(dim=1)
    scores = F.normalize(items[known], dim=1) @ behaviour[known].T / temperature
    return F.cross_entropy(scores, torch.arange(len(scores))) if len(scores) > 1 else items.sum() * 0


def _networks(dim: int, options: Options) -> tuple[nn.Module, nn.Module]:
    if options.latent is None:
        linear = nn.Linear(dim, dim)
        nn.init.eye_(linear.weight), nn.init.zeros_(linear.bias)
        return linear, nn.Identity()
    widths = [dim, *options.hidden, options.latent]
    return _perceptron(widths), _perceptron(widths[::-1])


def _perceptron(widths: list[int]) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in zip(widths, widths[1:]):  # noqa: B905  (the second is one shorter by design)
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
