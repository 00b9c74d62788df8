"""Learning from other models: ``teaching`` asks teachers, ``taught`` learns what they said.

``trans_encoder`` has both forms of a transformer teach each other, ``adversarial`` a retriever and a ranker play
against each other.
"""
