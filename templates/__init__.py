"""Texts that bundles are made of: README.md, preview, licences."""
