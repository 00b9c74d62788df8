"""What the loop trains: codes of texts to embeddings, with a graph.

``base`` states what every trainee does; ``static``, ``transformer`` (dense, sparse, multi-vector) and ``cross`` do it.
``families`` says what each family asks of an objective, ``peft`` trains few parameters, ``row_adam`` steps the rows of
a table that a batch touched. Imports ``rows``.
"""
