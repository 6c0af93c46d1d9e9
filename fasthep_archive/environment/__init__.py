"""The environment of a run: packages, interpreter, hardware, variables; taken, recorded, compared."""
