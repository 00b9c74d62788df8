"""A run: ``loop`` steps over batches of its parts (``mixing``), ``embedding`` embeds them, gradients cached if asked.

``dev`` and ``cross_dev`` judge, ``checkpoints`` save and resume, ``processes`` share a step between processes,
``schedule`` and ``averaging`` say with what rate it goes and which weights it ends, ``watch`` shows and stops.
Imports ``rows`` and ``trainees``.
"""
