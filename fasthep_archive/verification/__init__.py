"""Whether replayed outputs are the recorded ones: comparison by type, verdicts by policy, and the likely cause."""
