"""Static encoders: a vector a token, and their mean; NumPy and tokenizers alone.

``encoder`` encodes, ``format`` reads and writes; tokenizer and first vectors come from a corpus (``tokenizers``,
``tokenized``, ``init``, ``skip_gram``, ``word_memory``); ``module`` trains them in torch.
"""
