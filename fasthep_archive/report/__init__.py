"""What people read: terminal, preview page, graph, plots."""
