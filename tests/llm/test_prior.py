"""A prior over leaves and forbidden ones: exact scores of beams, the distribution of samples, against plain loops."""

import math

import pytest
import torch
from llmtools import bare_backbone, leaf_tokens, prompts, random_ids, tiny_backbone

from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.decoding import beam_search, sample, score, search_and_score
from recbole_conrec.llm.prior import Prior
from recbole_conrec.utils.errors import UserError

LENGTHS = (9, 1, 23, 4)
IDS = random_ids(70, (5, 6, 7))
TRIE, N = IDS.trie, IDS.trie.n_leaves
CODES = [tuple(codes) for codes in TRIE.leaf_codes.tolist()]
EVERY = torch.arange(N).expand(len(LENGTHS), -1)


@pytest.fixture(scope="module")
def backbone():
    return tiny_backbone(IDS)


@pytest.fixture(scope="module")
def batch(backbone):
    return left_pad(prompts(backbone, LENGTHS), backbone.pad_id)


def random_prior(seed=0, scale=3.0):
    return torch.randn(len(LENGTHS), N, generator=torch.Generator().manual_seed(seed)) * scale


def random_forbidden(n=45, seed=1):
    generator = torch.Generator().manual_seed(seed)
    forbidden = torch.stack([torch.randperm(N, generator=generator)[:n] for _ in LENGTHS])
    forbidden[0, 20:] = -1
    forbidden[1, 1] = forbidden[1, 0]  # twice the same
    forbidden[2] = torch.arange(n)  # all of many prefixes
    return forbidden


def leaves_below(prefix, banned=()):
    return [leaf for leaf, codes in enumerate(CODES) if codes[: len(prefix)] == prefix and leaf not in banned]


def carried(prefix, prior, banned=()):
    """The log of the mean of exp(prior) over the leaves below a prefix, in double precision."""
    below = leaves_below(prefix, banned)
    return math.log(sum(math.exp(prior[leaf]) for leaf in below) / len(below))


@torch.no_grad()
def sampled_distribution(backbone, prompt, prior, banned, temperature=1.0):
    """Log-probability of every leaf as `sample` documents it: a plain forward per leaf, a loop per level."""
    tokens = leaf_tokens(backbone, torch.arange(N))
    logits = backbone.model(torch.cat([torch.tensor([prompt]).expand(N, -1), tokens[:, :-1]], 1)).logits
    logits = logits[:, len(prompt) - 1 :].double() / temperature
    result = []
    for leaf, codes in enumerate(CODES):
        total = -math.inf if leaf in banned else 0.0
        for level in range(TRIE.depth) if leaf not in banned else ():
            following = sorted({CODES[one][level] for one in leaves_below(codes[:level], banned)})
            tokens_of = backbone.level_tokens[level][torch.tensor(following)]
            added = [carried((*codes[:level], code), prior, banned) for code in following]
            raised = logits[leaf, level, tokens_of] + torch.tensor(added)
            total += raised.log_softmax(0)[following.index(codes[level])].item()
        result.append(total)
    return torch.tensor(result)


def test_tables_are_log_means_of_what_is_not_forbidden():
    prior, forbidden = random_prior(), random_forbidden()
    table = Prior(TRIE, prior, forbidden)
    prefixes = [sorted({codes[:level] for codes in CODES}) for level in range(TRIE.depth + 1)]
    for b in range(len(LENGTHS)):
        banned = set(forbidden[b].tolist())
        for level, known in enumerate(prefixes):
            for state, prefix in enumerate(known):
                mine = table.bonus(level, torch.full((len(LENGTHS), 1), state))[b, 0].item()
                if leaves_below(prefix, banned):
                    assert mine == pytest.approx(carried(prefix, prior[b].tolist(), banned), abs=1e-5)
                else:
                    assert mine == -math.inf


def test_tables_neither_overflow_nor_cancel():
    """Leaves of exp(500) and exp(-500) beside each other: a running sum of exp would lose or overflow either."""
    prior = torch.full((1, N), -500.0)
    prior[0, : N // 2] = 500.0
    table = Prior(TRIE, prior)
    for level in range(TRIE.depth + 1):
        states = torch.arange(len(TRIE.code[level - 1]) if level else 1)[None]
        assert (table.bonus(level, states).abs() <= 500).all()
        assert (table.bonus(level, states).max() > 490) and (level == 0 or table.bonus(level, states).min() < -490)


@pytest.mark.parametrize("normalise", ["vocabulary", "allowed"])
@pytest.mark.parametrize("given", ["prior", "both"])
def test_a_beam_as_wide_as_the_catalogue_finds_the_exact_order(backbone, batch, normalise, given):
    prior, forbidden = random_prior(), random_forbidden() if given == "both" else None
    truth = score(backbone, TRIE, *batch, EVERY, normalise=normalise) + prior
    torch.testing.assert_close(score(backbone, TRIE, *batch, EVERY, normalise=normalise, prior=prior), truth)
    levels = score(backbone, TRIE, *batch, EVERY, normalise=normalise, prior=prior, by_level=True)
    torch.testing.assert_close(levels.sum(2), truth, atol=1e-4, rtol=0)
    if forbidden is not None:
        for row, banned in zip(truth, forbidden, strict=True):
            row[banned[banned >= 0]] = -torch.inf
    options = {"width": N, "normalise": normalise, "forbidden": forbidden, "prior": prior}
    leaves, scores = beam_search(backbone, TRIE, *batch, **options)
    torch.testing.assert_close(scores, truth.sort(descending=True).values, atol=1e-4, rtol=0)
    alive = leaves >= 0
    torch.testing.assert_close(truth.gather(1, leaves.clamp(min=0))[alive], scores[alive], atol=1e-4, rtol=0)
    found, _ = search_and_score(backbone, TRIE, *batch, EVERY, **options, chunk=3)
    assert torch.equal(found, leaves)


def test_a_narrow_beam_keeps_the_prefixes_of_what_the_prior_wants(backbone, batch):
    """The least likely leaf of each user, raised by 50: a beam of one that ignored the prior would not reach it."""
    worst = score(backbone, TRIE, *batch, EVERY).argmin(1)
    prior = torch.zeros(len(LENGTHS), N).scatter(1, worst[:, None], 50.0)
    assert torch.equal(beam_search(backbone, TRIE, *batch, width=1, prior=prior)[0][:, 0], worst)


def test_a_constant_prior_changes_nothing(backbone, batch):
    plain, scores = beam_search(backbone, TRIE, *batch, width=6)
    raised, more = beam_search(backbone, TRIE, *batch, width=6, prior=torch.full((len(LENGTHS), N), 7.0))
    assert torch.equal(plain, raised)
    torch.testing.assert_close(scores + 7, more, atol=1e-4, rtol=0)
    draws = [
        sample(backbone, TRIE, *batch, n=5, prior=prior, generator=torch.Generator().manual_seed(0))[2]
        for prior in (None, torch.full((len(LENGTHS), N), -3.0))
    ]
    torch.testing.assert_close(*draws, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("given", ["forbidden", "prior", "both"])
def test_samples_are_of_the_documented_distribution(backbone, batch, given, chunk):
    rows, prior, forbidden = prompts(backbone, LENGTHS), random_prior(scale=1.0), random_forbidden(30)
    banned = [set(row.tolist()) if given != "prior" else set() for row in forbidden]
    leaves, codes, logps = sample(
        backbone,
        TRIE,
        *batch,
        n=400,
        temperature=0.7,
        chunk=chunk,
        generator=torch.Generator().manual_seed(0),
        forbidden=None if given == "prior" else forbidden,
        prior=None if given == "forbidden" else prior,
    )
    assert torch.equal(TRIE.leaf_codes[leaves], codes)
    for b in (0, 2):
        values = [0.0] * N if given == "forbidden" else prior[b].tolist()
        expected = sampled_distribution(backbone, rows[b], values, banned[b], temperature=0.7)
        assert expected.exp().sum() == pytest.approx(1, abs=1e-5)
        assert not set(leaves[b].tolist()) & banned[b]
        torch.testing.assert_close(logps[b].sum(1), expected[leaves[b]], atol=1e-4, rtol=0)
        share, p = leaves[b].bincount(minlength=N) / 400, expected.exp()
        assert ((share - p).abs() <= 5 * (p * (1 - p) / 400).sqrt() + 5e-3).all()


def test_beams_as_sampled_are_the_likeliest_of_the_samples_distribution(backbone, batch):
    prior, forbidden = random_prior(scale=1.0), random_forbidden()
    options = {"width": N, "prior": prior, "forbidden": forbidden, "as_sampled": True}
    leaves, scores = beam_search(backbone, TRIE, *batch, **options)
    expected = sampled_distribution(backbone, prompts(backbone, LENGTHS)[2], prior[2].tolist(), set(range(45)))
    n = N - 45
    torch.testing.assert_close(scores[2, :n], expected.sort(descending=True).values[:n], atol=1e-4, rtol=0)
    assert (leaves[2, n:] == -1).all() and (scores[2, n:] == -torch.inf).all()


def test_an_encoder_decoder_takes_both():
    backbone = bare_backbone("t5", IDS)
    padded = left_pad(prompts(backbone, LENGTHS), 0)
    prior, forbidden = random_prior(), random_forbidden()
    truth = score(backbone, TRIE, *padded, EVERY) + prior
    for row, banned in zip(truth, forbidden, strict=True):
        row[banned[banned >= 0]] = -torch.inf
    _, scores = beam_search(backbone, TRIE, *padded, width=N, prior=prior, forbidden=forbidden)
    torch.testing.assert_close(scores, truth.sort(descending=True).values, atol=1e-4, rtol=0)


@pytest.mark.parametrize("prior", [None, torch.zeros(len(LENGTHS), N)])
def test_everything_forbidden_cannot_be_sampled(backbone, batch, prior):
    forbidden = torch.full((len(LENGTHS), N), -1)
    forbidden[1] = torch.arange(N)
    with pytest.raises(UserError, match="sample: every ID is forbidden after one of the prompts; forbid fewer"):
        sample(backbone, TRIE, *batch, n=2, forbidden=forbidden, prior=prior)
