"""What stages do; one protocol for ours and for plug-ins."""
