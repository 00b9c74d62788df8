"""Criteria over a teacher's scores. May import ``criteria.ops``, the other families' arithmetic and the nouns."""

from similis.criteria.distillation import adversarial, logits, relational, scores

__all__ = ["adversarial", "logits", "relational", "scores"]
