"""What the restricted Python of kernels is in CUDA C: tables, and what is not in them is refused."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from types import MappingProxyType

DOUBLE, INT, BOOL, VOID = "double", "Int", "bool", "void"

PRELUDE = """\
typedef long long Int;
typedef unsigned long long Word;
#define INLINE static __device__ __forceinline__
#define SELDOM static __device__ __noinline__
#define TABLE static __device__ const

INLINE Int int_add(Int a, Int b) { return (Int)((Word)a + (Word)b); }
INLINE Int int_sub(Int a, Int b) { return (Int)((Word)a - (Word)b); }
INLINE Int int_mul(Int a, Int b) { return (Int)((Word)a * (Word)b); }
INLINE Int int_neg(Int a) { return (Int)(0 - (Word)a); }
INLINE Int int_abs(Int a) { return a < 0 ? int_neg(a) : a; }
INLINE Int int_shl(Int a, Int n) { return (Int)((Word)a << n); }
INLINE Int int_floordiv(Int a, Int b) { Int q = a / b; return q - (int_mul(q, b) != a && (a < 0) != (b < 0)); }
INLINE Int int_mod(Int a, Int b) { return int_sub(a, int_mul(int_floordiv(a, b), b)); }
INLINE Int to_bits(double x) { return __double_as_longlong(x); }
INLINE double from_bits(Int x) { return __longlong_as_double(x); }
INLINE void first_fault(Word *faults, Int cast, Int place) { atomicMin(faults + cast, (Word)place); }
INLINE double sign_of(double x, double s)
{ return from_bits((to_bits(x) & 0x7FFFFFFFFFFFFFFFLL) | (to_bits(s) & ~0x7FFFFFFFFFFFFFFFLL)); }
"""
"""What every text begins with."""

TYPES = MappingProxyType(
    {
        "float": DOUBLE,
        "int": INT,
        "bool": BOOL,
        "Limbs": "Int *",
        "Words": "Int *",
        "Doubles": "const double *",
        "Numbers": "double *",
        "Truths": "const bool *",
    }
)

OPERATORS: Mapping[tuple[type[ast.operator], str], str] = MappingProxyType(
    {
        (ast.Add, DOUBLE): "__dadd_rn({}, {})",
        (ast.Sub, DOUBLE): "__dsub_rn({}, {})",
        (ast.Mult, DOUBLE): "__dmul_rn({}, {})",
        (ast.Div, DOUBLE): "__ddiv_rn({}, {})",
        (ast.Add, INT): "int_add({}, {})",
        (ast.Sub, INT): "int_sub({}, {})",
        (ast.Mult, INT): "int_mul({}, {})",
        (ast.LShift, INT): "int_shl({}, {})",
        (ast.RShift, INT): "({} >> {})",
        (ast.FloorDiv, INT): "int_floordiv({}, {})",
        (ast.Mod, INT): "int_mod({}, {})",
        (ast.BitAnd, INT): "({} & {})",
        (ast.BitOr, INT): "({} | {})",
        (ast.BitXor, INT): "({} ^ {})",
        (ast.BitAnd, BOOL): "((bool)({} & {}))",
        (ast.BitOr, BOOL): "((bool)({} | {}))",
        (ast.BitXor, BOOL): "({} != {})",
    }
)

UNARY: Mapping[tuple[type[ast.unaryop], str], str] = MappingProxyType(
    {
        (ast.USub, DOUBLE): "(-{})",
        (ast.USub, INT): "int_neg({})",
        (ast.Invert, INT): "(~{})",
        (ast.Not, BOOL): "(!{})",
    }
)

COMPARISONS: Mapping[type[ast.cmpop], str] = MappingProxyType(
    {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
)

CALLS: Mapping[tuple[str, tuple[str, ...]], tuple[str, str]] = MappingProxyType(
    {
        ("float", (INT,)): (DOUBLE, "__ll2double_rn({0})"),
        ("float", (DOUBLE,)): (DOUBLE, "{0}"),
        ("float64", (INT,)): (DOUBLE, "__ll2double_rn({0})"),
        ("float64", (BOOL,)): (DOUBLE, "__ll2double_rn((Int){0})"),
        ("float64", (DOUBLE,)): (DOUBLE, "{0}"),
        ("float32", (DOUBLE,)): (DOUBLE, "((double)__double2float_rn({0}))"),
        ("int", (DOUBLE,)): (INT, "__double2ll_rz({0})"),
        ("int", (BOOL,)): (INT, "((Int){0})"),
        ("int", (INT,)): (INT, "{0}"),
        ("int64", (DOUBLE,)): (INT, "__double2ll_rz({0})"),
        ("int64", (BOOL,)): (INT, "((Int){0})"),
        ("int64", (INT,)): (INT, "{0}"),
        ("uint64", (INT,)): (INT, "{0}"),  # says that an index is not negative
        ("abs", (DOUBLE,)): (DOUBLE, "fabs({0})"),
        ("abs", (INT,)): (INT, "int_abs({0})"),
        ("min", (DOUBLE, DOUBLE)): (DOUBLE, "({1} < {0} ? {1} : {0})"),
        ("min", (INT, INT)): (INT, "({1} < {0} ? {1} : {0})"),
        ("max", (DOUBLE, DOUBLE)): (DOUBLE, "({1} > {0} ? {1} : {0})"),
        ("max", (INT, INT)): (INT, "({1} > {0} ? {1} : {0})"),
        ("sqrt", (DOUBLE,)): (DOUBLE, "__dsqrt_rn({0})"),
        ("floor", (DOUBLE,)): (DOUBLE, "floor({0})"),
        ("ceil", (DOUBLE,)): (DOUBLE, "ceil({0})"),
        ("trunc", (DOUBLE,)): (DOUBLE, "trunc({0})"),
        ("rint", (DOUBLE,)): (DOUBLE, "rint({0})"),
        ("copysign", (DOUBLE, DOUBLE)): (DOUBLE, "sign_of({0}, {1})"),
        ("to_bits", (DOUBLE,)): (INT, "to_bits({0})"),
        ("from_bits", (INT,)): (DOUBLE, "from_bits({0})"),
        ("first_fault", ("Word *", INT, INT)): (VOID, "first_fault({0}, {1}, {2})"),
        ("add_to", ("Int *", INT, INT)): (VOID, "(void)atomicAdd((Word *){0} + {1}, (Word){2})"),
        ("lower", ("Int *", INT, INT)): (VOID, "(void)atomicMin({0} + {1}, {2})"),
        ("seldom", ()): (VOID, "(void)0"),
    }
)
"""Functions that the language has, by the types of their arguments: the type of the result, and how it is written."""

ELEMENTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "double": (DOUBLE, "{}"),
        "float": (DOUBLE, "((double){})"),
        "bool": (BOOL, "{}"),
        "Int": (INT, "{}"),
        **{
            f"{sign}{kind}": (INT, "((Int){})")
            for sign in ("signed ", "unsigned ")
            for kind in ("char", "short", "int")
        },
        "unsigned long long": (INT, "((Int){})"),
    }
)
"""What is read from arrays of each type: narrow numbers are promoted."""

FMA = (
    "INLINE {kind} fn_two_product(double a, double b)\n"
    "{{\n    double p = __dmul_rn(a, b);\n    return {kind}{{p, __fma_rn(a, b, -p)}};\n}}"
)
"""The one place where a product and a sum are rounded together: the error of a product, which is exact."""

KERNEL = """\
extern "C" __global__ void {name}(Int turns, {listed})
{{
    Int i = (Int)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < turns) {call};
}}"""

KEYS = MappingProxyType({"double": "d", "Int": "i", "bool": "b"})
