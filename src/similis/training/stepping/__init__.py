"""What changes how a step is taken: its gradients, its loss, the weights it leaves.

``base`` has the protocol and reads a recipe's ``stepping``; each of the others registers its ways. Imports ``rows``,
``trainees`` and ``running.mixing``; :class:`~similis.training.running.steps.Steps` asks it at one place.
"""
