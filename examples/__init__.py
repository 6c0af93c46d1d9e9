"""Runnable examples, each a directory that ``fasthep-archive init`` copies: workflow, data, and how to use them."""
