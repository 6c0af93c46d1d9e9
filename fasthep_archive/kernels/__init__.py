"""Formulas to one small program, programs to machine code; exact sums; bins."""
