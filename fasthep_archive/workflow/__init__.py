"""Workflow documents: read from YAML, checked against their schema, turned into frozen types."""
