"""A transformer of the words of this folder's rows, small enough to train in a test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from continual_rows import THINGS, document
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import BertConfig, BertModel, BertTokenizerFast


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer, saved as a sentence-transformers model."""
    folder = tmp_path_factory.mktemp("tiny")
    things = document(list(range(THINGS))).split()
    words = [*things, *(word.replace("thing", "alias") for word in things)]
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    torch.manual_seed(0)
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=24, initializer_range=0.2, **sizes)
    BertModel(config).save_pretrained(folder / "b")
    tokenizer.save_pretrained(folder / "b")
    body = Transformer(str(folder / "b"), max_seq_length=20)
    SentenceTransformer(modules=[body, Pooling(32, "mean")], device="cpu").save_pretrained(str(folder / "model"))
    return folder / "model"
