"""What pytest leaves alone here: the script needs ROOT, the tests only what it made."""

collect_ignore = ["make.py"]
