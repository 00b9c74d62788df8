"""Write the method pages from the registry: one page a family, so that docs say what the code says.

python docs/generate.py            # writes docs/methods/*.md
python docs/generate.py --check    # fails where a page is out of date
"""

from __future__ import annotations

import inspect
import sys
from collections import defaultdict
from pathlib import Path

from similis.registry import Entry, entries

FOLDER = Path(__file__).parent / "methods"

#: What each page opens with: when a reader should look here.
WHEN = {
    "criterion/softmax": "Retrieval with pairs or several positives and many negatives: the place to start.",
    "criterion/margin": "Verification and matching, where a fixed gap between same and different matters.",
    "criterion/proxy": "Class labels, many classes, small batches: keys are learned class vectors.",
    "criterion/ranking": "Graded judgements or candidate lists, where the order at the top is what counts.",
    "criterion/regression": "Scored pairs (STS) and real-valued targets.",
    "criterion/ordinal": "Classes with an order, such as ratings or ages, where a near miss is better than a far one.",
    "criterion/transport": "Labels with known similarities, where the cost of a mistake is how far off it is.",
    "criterion/distillation": "A teacher's scores or embeddings are the supervision.",
    "similarity/vector": "One vector an item; all of these are searched by any inner-product index.",
    "similarity/learned": "One vector an item, and what of it matters is learnt: stretched, projected or masked axes.",
    "similarity/kernel": "Scores that fade with distance, so that everything far away counts alike.",
    "similarity/gaussian": "Items that are uncertain or broad: each is a distribution, half mean and half variance.",
    "similarity/hyperbolic": "Hierarchies: few dimensions hold trees that flat space cannot.",
    "similarity/overlap": "Binary or non-negative features: which of them two items share.",
    "similarity/sets": "Several vectors an item (tokens, patches), matched one by one; dearer to keep and to search.",
    "keys": "What queries are scored against where the batch's own keys are not enough.",
    "miner/hardness": "Which pairs of a batch to learn from: the hard ones teach more, the hardest may be wrong.",
    "miner/guided": "Negatives that may be unlabelled positives: leave them out by what a guide or the model thinks.",
    "miner/sampled": "A random part of the pairs, evenly or evened out by distance.",
    "miner/schedule": "Easy pairs first, hard ones later.",
    "regularizer/classes": "Labels are known, and classes or their proxies should keep a shape.",
    "regularizer/covariance": "Embeddings collapse into few directions, or should: what their covariance looks like.",
    "regularizer/spread": "Embeddings crowd together on the sphere.",
    "regularizer/size": "Norms, means or the number of non-zero coordinates get out of hand.",
    "regularizer/gaussian": "Beside a Gaussian similarity, so that variances neither vanish nor grow.",
    "regularizer/hyperbolic": "Beside a hyperbolic similarity, so that parents lie nearer to the origin.",
    "regularizer/teaching": "Two sides that belong together beyond their pairs: student and teacher, two towers.",
    "stepping/averages": "The last weights are a matter of chance: the mean of many steps' is judged and saved.",
    "stepping/consistency": "Few rows and a model that knows much already: it should not change what it need not.",
    "stepping/fisher": "Few rows: train only the weights that matter for them.",
    "stepping/groups": "Some sets, classes or topics are learnt badly, and the worst of them is what counts.",
    "stepping/layers": "Lower layers of a transformer know what is general: train them slower, or not at all.",
    "stepping/sharpness": "Training fits every row and new ones do badly: look for weights around which all is good.",
    "pretraining": "A transformer that is no sentence encoder yet, and many texts without supervision.",
    "pairs": "Texts without any supervision: what of a text is to find what else of it (`similis fit CORPUS`).",
    "augmentation/texts": "No labels at all: two changed copies of a text are a pair (`similis.augment.views`).",
    "augmentation/arrays": "Images or sequences of features, where a hole should not change what they are.",
    "sampler/order": "Rows in any order: by chance, without repeats in a batch, or by length.",
    "sampler/classes": "Labelled items: several of each of a few classes, so that every batch has positives.",
    "metric/ranking": "Ranked results and judgements of relevance.",
    "metric/scores": "Scored or labelled pairs: agreement, or one threshold for same and different.",
    "metric/labels": "Embeddings with class labels: neighbours and clusters.",
    "metric/embeddings": "Embeddings alone: how evenly they fill their space.",
    "metric/embedding_pairs": "Two embeddings of the same items: whether two models see the same neighbours.",
    "metric/embedding_sets": "Two clouds in one space, such as texts and images: do they cover each other?",
    "metric/embedding_lengths": "Embeddings and the lengths of their texts: does one grow with the other?",
    "metric/probabilities": "Scores read as probabilities: whether they keep what they promise.",
    "metric/class_probabilities": "A probability for every class of an item: whether they keep what they promise.",
    "metric/texts": "A text against a reference by its meaning: tokens matched or moved, or a learned scorer.",
    "metric/ratings": "A score of texts against people's ratings of several outputs an item: does it rank as they do?",
    "metric/challenges": "Pairs of a good and a bad output: does a score of texts see the difference?",
    "metric/contrasts": "Two queries and two documents that differ in one thing, such as a negation: is it seen?",
    "metric/spans": "Chunks handed to a reader: which positions of the gold passages they cover, and what is too much.",
    "metric/recommendations": "Lists for many users: how new, varied and evenly spread they are, beside being right.",
    "metric/recognitions": "One answer with a confidence for each query, some of which have none: may it be trusted?",
    "index/dense": "One vector a document.",
    "index/lexical": "Documents by their words, without training.",
    "index/multi_vector": "Several vectors a document: what one vector loses, at a larger index and a slower search.",
    "index/sparse": "Documents by learned weights of words: trained, and as easy to look into as BM25.",
    "negatives/searched": "Pairs without negatives: documents that look right to a search and are not marked as such.",
    "peft/adapters": "A large transformer and little memory: a few added weights are trained, the rest stands still.",
    "peft/freezing": "Little data, or a model to stay close to: only some of its own weights are trained.",
}


def cost(entry: Entry) -> str:
    """The cost of one row of m keys, from the traits the registry holds."""
    if entry.traits.get("whole"):
        return "reads the whole score matrix: O(n·m) memory, tiled scoring"
    if entry.traits.get("each_key"):
        return "O(m²) a row"
    if entry.traits.get("each_positive"):
        return "O(P·m) a row, P positives"
    return "O(m log m) a row (sorts)" if entry.traits.get("sorts") else "O(m) a row"


def page(title: str, found: list[Entry]) -> str:
    """One family as Markdown."""
    kind, _, family = title.partition("/")
    lines = [f"# {kind.capitalize()}: {family}" if family else f"# {kind.capitalize()}", ""]
    if title in WHEN:
        lines += [WHEN[title], ""]
    lines += ["Generated by `python docs/generate.py` from the registry; do not edit.", ""]
    for entry in found:
        arguments = ", ".join(p.name if p.required else f"{p.name}={p.default!r}" for p in entry.parameters)
        lines += [f"## {entry.name}", "", f"`{entry.name}({arguments})`", ""]
        lines += [_prose(inspect.getdoc(entry.make) or ""), ""]
        lines += [f"- **Accepts**: {', '.join(entry.accepts) or 'every supervision'}"]
        if kind == "criterion":
            lines += [f"- **Cost**: {cost(entry)}"]
        for trait, word in (("keys", "Keys"), ("similarity", "Similarity"), ("directions", "Directions")):
            if entry.traits.get(trait):
                lines += [f"- **{word}**: `{entry.traits[trait]}` by default"]
        lines += [f"- **Source**: {entry.source}", ""]
    return "\n".join(lines)


def _prose(docstring: str) -> str:
    """The docstring as Markdown: double backticks become single, sections become bold."""
    text = docstring.replace("``", "`")
    for section in ("Args", "Returns", "Raises", "Definition"):
        text = text.replace(f"\n{section}:", f"\n**{section}**:")
    return text


def pages() -> dict[Path, str]:
    """Every page by its path."""
    grouped: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries():
        grouped[f"{entry.kind}/{entry.family}" if entry.family else entry.kind].append(entry)
    made = {FOLDER / f"{title.replace('/', '-')}.md": page(title, found) for title, found in grouped.items()}
    index = ["# Methods", "", "Generated by `python docs/generate.py`.", "", "| page | methods |", "| --- | --- |"]
    for title, found in sorted(grouped.items()):
        names = ", ".join(e.name for e in found)
        index.append(f"| [{title}]({title.replace('/', '-')}.md) | {names} |")
    made[FOLDER / "README.md"] = "\n".join([*index, ""])
    return made


def main() -> int:
    made = pages()
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    extra = [path for path in FOLDER.glob("*.md") if path not in made]
    if "--check" in sys.argv:
        for path in (*stale, *extra):
            print(f"{path.relative_to(FOLDER.parent.parent)} is out of date: run python docs/generate.py")
        return 1 if stale or extra else 0
    FOLDER.mkdir(exist_ok=True)
    for path in stale:
        path.write_text(made[path], encoding="utf-8")
    for path in extra:
        path.unlink()
    print(f"{len(made)} pages, {len(stale)} written, {len(extra)} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
