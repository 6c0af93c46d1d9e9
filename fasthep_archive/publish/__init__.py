"""What repositories and people read beside the data: README.md, LICENSE, CITATION.cff, and advice on metadata."""
