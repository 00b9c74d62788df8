"""Pairs out of texts alone: what of a text is to find what else of it.

A maker of pairs is a function of a title, a text and a source of randomness that gives pairs (query, key); it is
registered as ``pairs`` and named in a recipe, as in ``pairs = "spans(count=2)"``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import TypeAlias

from similis.data.dataset import Dataset
from similis.errors import UserError
from similis.registry import Source, bind, register

Pairs: TypeAlias = list[tuple[str, str]]

_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_CLOZE = Source(
    "Latent Retrieval for Weakly Supervised Open Domain Question Answering", "Lee, Chang and Toutanova", 2019
)
#: What is taken where a recipe names nothing and texts have neither titles nor a second sentence.
SHORT_STATIC, SHORT = "views(delete_words)", "same"


@register("pairs", "leading", source=_CLOZE, accepts=("texts",))
def leading(title: str, text: str, random: Random) -> Pairs:
    """The title, or the first sentence where there is none, is to find the rest of its text.

    The inverse cloze task of the paper with the sentence that says most of what a text is about, instead of a random
    one. Titles and sentences of a single word are left out.

    Args:
        title: of the text, or empty.
        text: without its title.
        random: not used.
    """
    title = title.strip()
    head, body = (title, text) if title else ([*_SENTENCE.split(text.strip(), maxsplit=1), ""])[:2]
    return [(head, body.strip())] if len(head.split()) > 1 and body.strip() else []


@register("pairs", "cloze", source=_CLOZE, accepts=("texts",))
def cloze(title: str, text: str, random: Random, *, count: int = 1, keep: float = 0.1) -> Pairs:
    """A random sentence is to find the rest of its text: the inverse cloze task.

    Checked against the authors' published settings: the sentence is removed from its text in 90% of the pairs, so that
    matching words by words is learnt too.

    Args:
        title: of the text, or empty; it stays with the rest.
        text: without its title.
        random: what is drawn from.
        count: pairs a text, of different sentences.
        keep: chance that the sentence stays in the text.

    Raises:
        UserError: fewer than one pair a text, or no chance.
    """
    if count < 1 or not 0 <= keep <= 1:
        raise UserError(f"cloze needs count of at least 1 and keep in 0..1, not count={count}, keep={keep}")
    sentences = [each.strip() for each in _SENTENCE.split(text.strip()) if each.strip()]
    places = [place for place, each in enumerate(sentences) if len(each.split()) > 1]
    if len(sentences) < 2:
        return []
    made = []
    for place in random.sample(places, min(count, len(places))):
        rest = sentences if random.random() < keep else sentences[:place] + sentences[place + 1 :]
        made.append((sentences[place], _whole(title, " ".join(rest))))
    return made


@register(
    "pairs",
    "spans",
    source=Source(
        "Unsupervised Dense Information Retrieval with Contrastive Learning",
        "Izacard, Caron, Hosseini, Riedel, Bojanowski, Joulin and Grave",
        2022,
    ),
    accepts=("texts",),
)
def spans(
    title: str,
    text: str,
    random: Random,
    *,
    count: int = 1,
    shortest: float = 0.05,
    longest: float = 0.5,
    delete: float = 0.1,
) -> Pairs:
    """Two random runs of words of a text belong together; they may overlap (Contriever's independent cropping).

    Checked against the authors' published settings: each span has a length drawn evenly between 5% and 50% of the
    document's (there a chunk of 256 tokens), and a tenth of its words is deleted. Spans here have two words at least.

    Args:
        title: of the text, or empty; it is the text's beginning.
        text: without its title.
        random: what is drawn from.
        count: pairs a text.
        shortest: share of the text's words that a span has at least.
        longest: and at most.
        delete: chance of each word of a span to be deleted.

    Raises:
        UserError: fewer than one pair a text, or shares that are none.
    """
    if count < 1 or not 0 <= shortest <= longest <= 1 or not 0 <= delete < 1:
        raise UserError(
            "spans needs count of at least 1, shares shortest up to longest in 0..1 and delete below 1, "
            f"not count={count}, shortest={shortest}, longest={longest}, delete={delete}"
        )
    words = _whole(title, text).split()
    if len(words) < 4:
        return []

    def span() -> str:
        length = max(2, round(random.uniform(shortest, longest) * len(words)))
        start = random.randrange(len(words) - length + 1)
        taken = words[start : start + length]
        return " ".join([word for word in taken if random.random() >= delete] or taken[:1])

    return [(span(), span()) for _ in range(count)]


@register(
    "pairs",
    "same",
    source=Source("SimCSE: Simple Contrastive Learning of Sentence Embeddings", "Gao, Yao and Chen", 2021),
    accepts=("texts",),
)
def same(title: str, text: str, random: Random) -> Pairs:
    """A text is to find itself: what differs is the dropout of the two passes (unsupervised SimCSE).

    For transformers, which read such a pair in two passes; a model without dropout only learns to spread its texts.
    Checked against the authors' published code: the same text twice, other texts of the batch as negatives,
    temperature 0.05.

    Args:
        title: of the text, or empty; it is the text's beginning.
        text: without its title.
        random: not used.
    """
    whole = _whole(title, text)
    return [(whole, whole)] if whole else []


@register(
    "pairs",
    "views",
    source=Source("CLEAR: Contrastive Learning for Sentence Representation", "Wu, Wang, Gu, Khabsa, Sun and Ma", 2020),
    accepts=("texts",),
)
def views(title: str, text: str, random: Random, *, first: str = "delete_words", second: str = "same") -> Pairs:
    """A changed copy of a text is to find the text, or another changed copy.

    Args:
        title: of the text, or empty; it is the text's beginning.
        text: without its title.
        random: what is drawn from.
        first: an augmentation of texts, as in ``views(delete_words(share=0.6))``; ``same`` changes nothing.
        second: likewise, of the key.

    Raises:
        UserError: an unknown augmentation.
    """
    from similis.augment import views as changed

    made = next(iter(changed([_whole(title, text)], str(first), str(second), seed=random.getrandbits(32))))
    return [made] if made[0] != made[1] and all(made) else []


def _whole(title: str, text: str) -> str:
    return f"{title.strip()} {text.strip()}".strip()


def whole_texts(data: Dataset) -> list[str]:
    """Each text with its title before it, as a corpus is searched."""
    return [_whole(title, text) for title, text in _titled(data)]


def _titled(data: Dataset) -> Iterator[tuple[str, str]]:
    titles = data.rows.get("title") or [""] * len(data)
    return ((title or "", text) for title, text in zip(titles, data.column("text"), strict=True))


def chosen_pairs(data: Dataset, *, static: bool = True) -> str:
    """The maker of pairs for texts of which nothing else is known.

    Titles and first sentences where at least half of the texts have one with something after it. For short texts a
    transformer reads each twice, and a static model, which has no dropout, gets a copy with words deleted.
    """
    found = sum(bool(leading(title, text, Random(0))) for title, text in _titled(data))
    return "leading" if 2 * found >= len(data) else SHORT_STATIC if static else SHORT


def pairs_of(data: Dataset, maker: str = "leading", seed: int = 0) -> tuple[list[str], list[str]]:
    """Queries and keys out of texts, in the texts' order.

    Args:
        data: texts, with titles where there are any.
        maker: text of a registered maker of pairs.
        seed: of the drawing; what the k-th text gives does not depend on the others.

    Raises:
        UserError: an unknown maker, or texts that give fewer than two pairs.
    """
    bound = bind("pairs", maker)
    made: Pairs = []
    for number, (title, text) in enumerate(_titled(data)):
        made += bound(title, text, Random(f"{seed} {number}"))
    if len(made) < 2:
        wanted = "have a title or a second sentence" if maker == "leading" else f"are long enough for {maker}"
        raise UserError(f"{data.path}: fewer than two texts {wanted} to make pairs of; give pairs, labels or scores")
    return [query for query, _ in made], [key for _, key in made]
