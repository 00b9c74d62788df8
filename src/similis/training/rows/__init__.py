"""What is learnt from: rows as codes of a shared table of texts, with their relation.

``columns`` reads a data set into ``examples``, which make batches; ``lists`` are candidates of one query; ``splitting``
holds out; ``passages`` and ``unlabeled`` make pairs of texts alone. Imports nothing of training.
"""
