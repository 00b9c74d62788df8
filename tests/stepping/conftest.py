"""A transformer small enough to step by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from stepped import WORDS
from transformers import BertConfig, BertModel, BertTokenizerFast


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of three layers with dropout, saved as a sentence-transformers model."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    torch.manual_seed(0)
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
    BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=32, **sizes)).save_pretrained(folder / "b")
    tokenizer.save_pretrained(folder / "b")
    body = Transformer(str(folder / "b"), max_seq_length=16)
    SentenceTransformer(modules=[body, Pooling(16, "mean")], device="cpu").save_pretrained(str(folder / "model"))
    return folder / "model"
