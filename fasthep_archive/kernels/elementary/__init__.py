"""Elementary functions whose results are the doubles nearest to the real ones, the same bits on every machine.

``rounded`` has them all. Each has a quick phase with pairs of doubles, whose error bound is derived where it is used
(``exponential``, ``logarithm``, ``circular``, ``inverse``; ``pairs`` has the arithmetic and the rounding test), and an
accurate phase with as many bits as it takes (``growth``, ``angles``; ``wide`` has the arithmetic). ``tables`` is
written by tools/make_tables.py.

The algorithms are published ones, and named where they are used; an overview is Muller et al., *Handbook of
Floating-Point Arithmetic*, 2nd edition, 2018. The code is our own.

All of that is one source in a small language: annotated Python with doubles, int64, bool and arrays of int64. It runs
as Python (the tests do that), ``lowering`` makes LLVM functions of it, ``numba_rounded`` shows those to numba. Kernels
call them for strips of values (``strips``): ``strip_lowering`` writes the loops around the phases, of which LLVM makes
vector code, and ``numba_strips`` shows them to numba.
"""
