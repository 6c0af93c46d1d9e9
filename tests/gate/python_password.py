def connect(password: str = "PLANTED") -> None:
    """Connect."""
