"""Data: sources of events, products, their content digests, and ``data["stage"]``."""
