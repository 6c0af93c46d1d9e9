"""Formulas: text to a checked tree, the table of functions, and the columns that they compute with."""
