"""Pre-training by differences: a vector that dropout does not change, and from which edits of its text are told."""

from __future__ import annotations

import copy
from random import Random

import torch
from torch import Tensor, nn

from similis.encoders.library.dense import SentenceTransformerEncoder
from similis.errors import UserError
from similis.objective import Objective
from similis.registry import Source, bind, register
from similis.relation import Relation, Rows
from similis.training.pretraining.base import IGNORED, Companion, mask_token
from similis.training.pretraining.generating import generator_of


@register(
    "pretraining",
    "diffcse",
    source=Source(
        "DiffCSE: Difference-based Contrastive Learning for Sentence Embeddings",
        "Chuang, Dangovski, Luo, Zhang, Chang, Soljačić, Li, Yih, Kim and Glass",
        2022,
    ),
    accepts=("texts",),
)
class DiffCse:
    """SimCSE's loss of two dropouts of a text, and replaced words told with the help of its vector.

    Definition: infonce(z, z') + λ · replaced_token, z the vectors after a projector. A generator fills masked places
    of the text with its best guesses; a discriminator, which starts as a copy of the transformer and reads the vector
    in the first token's place, has to say of every word whether it was replaced.

    Checked against the authors' code: the projector of two linear layers with batch normalisation over both views,
    of which nothing is left at the end; the discriminator's copy and input; the constants. Unlike there only masked
    places are filled (there the generator's guesses stand everywhere), a masked token is always the mask, the vector
    enters through a linear layer and before the embeddings' norm, and the loss is of a text's own words, without
    padding and special tokens. The generator there is a fixed, distilled model.

    Args:
        weight: λ.
        masked: share of the tokens that the generator fills.
        temperature: of the contrastive loss.
        generator: a masked language model's folder or name, which stays as it is; ``joint``: a small one that learns
            beside the encoder. None: the model's own masked-word head, ``joint`` where it has none.

    Raises:
        UserError: a weight below 0, a share that is none, or a temperature of 0 or less.
    """

    def __init__(
        self, weight: float = 0.005, masked: float = 0.3, temperature: float = 0.05, generator: str | None = None
    ) -> None:
        if weight < 0 or temperature <= 0:
            raise UserError(f"weight is at least 0 and temperature above 0, not {weight} and {temperature}")
        if not 0 < masked <= 1:
            raise UserError(f"masked is a share of the tokens, not {masked}")
        self.weight, self.masked, self.temperature, self.generator = weight, masked, temperature, generator

    def on(self, encoder: SentenceTransformerEncoder) -> Companion:
        return _Telling(encoder, self)


class _Telling(Companion):
    def __init__(self, encoder: SentenceTransformerEncoder, settings: DiffCse) -> None:
        super().__init__(encoder)
        size = encoder.dimension
        self.generator = generator_of(self, settings.generator, mask_token(encoder, "diffcse"))
        self.projector = nn.Sequential(
            nn.Linear(size, 2 * size, bias=False),
            nn.BatchNorm1d(2 * size),
            nn.ReLU(),
            nn.Linear(2 * size, size, bias=False),
            nn.BatchNorm1d(size, affine=False),
        )
        self.contrast = Objective(f"infonce(temperature={settings.temperature})")
        self.discriminator = copy.deepcopy(encoder.model.transformers_model)
        self.bridge = nn.Linear(size, self.words.embedding_dim)
        self.head = nn.Linear(self.discriminator.config.hidden_size, 1, bias=False)
        self.criterion = bind("criterion", "replaced_token").build()
        self._weight, self._masked = settings.weight, settings.masked

    def loss(self, texts: list[str], seed: str) -> Tensor:
        features = self._features([*texts, *texts])  # dropout makes two views of each
        vectors = self.projector(self.encoder.forward_features(features))
        alike: Tensor = self.contrast(*vectors.chunk(2), Relation.pairs(len(texts)))
        ids, mask, labels = features["input_ids"], features["attention_mask"], self._labels(features)
        drawn = torch.rand(ids.shape, generator=torch.Generator().manual_seed(Random(seed).getrandbits(62)))
        hidden = (drawn.to(ids.device) < self._masked) & (labels != IGNORED)
        edited, own = self.generator.refilled(ids, mask, hidden)
        return alike + self._weight * self.told(vectors, edited, edited != ids, mask, labels) + own

    def told(self, vectors: Tensor, edited: Tensor, replaced: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Mean surprise at which words of edited texts were replaced.

        Args:
            vectors: of the texts before the edit, ``[n, d]``.
            edited: token ids, ``[n, t]``.
            replaced: what was, ``[n, t]`` booleans.
            mask: 1 for tokens, 0 for padding, ``[n, t]``.
            labels: :data:`IGNORED` where a token is no word, ``[n, t]``.
        """
        rows = Rows(given_grade=replaced.to(vectors.dtype), left_out=labels == IGNORED)
        told: Tensor = self.criterion(self.scores(vectors, edited, mask), rows)
        return told.mean()

    def scores(self, vectors: Tensor, edited: Tensor, mask: Tensor) -> Tensor:
        """How much each word looks replaced, ``[n, t]``."""
        words = self.discriminator.get_input_embeddings()(edited)
        inputs = torch.cat([self.bridge(vectors)[:, None], words[:, 1:]], 1)
        states = self.discriminator(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
        return self.head(states).squeeze(-1)  # type: ignore[no-any-return]
