"""Writes the reference pages that are made from the program: ``python docs/make_reference.py``.

``reference/formulas.md`` from the table of functions, ``reference/command-line.md`` from the parsers. What people wrote
is in the templates ``reference/*.md.in``; ``tests/test_docs.py`` fails when a page is not what this makes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template

from fasthep_archive.cli.parser import parser
from fasthep_archive.formula.functions import CONSTANTS, FUNCTIONS, Function

REFERENCE = Path(__file__).parent / "reference"


def pages() -> dict[Path, str]:
    """Return the text of each page by its path."""
    made = {"formulas": formulas(), "command-line": commands()}
    return {REFERENCE / f"{name}.md": filled(REFERENCE / f"{name}.md.in", parts) for name, parts in made.items()}


def filled(template: Path, parts: Mapping[str, str]) -> str:
    """Return the template with all parts in their places; each part has one."""
    source = Template(template.read_text(encoding="utf-8"))
    unused = parts.keys() - set(source.get_identifiers())
    if unused:
        raise SystemExit(f"{template} has no place for {', '.join(sorted(unused))}")
    return source.substitute(parts)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines)


# Formulas


def formulas() -> dict[str, str]:
    kinds: dict[str, list[Function]] = {"operators": [], "elements": [], "specials": [], "reducers": []}
    for function in FUNCTIONS.values():
        kind = (
            "operators"
            if function.symbol
            else {"element": "elements", "special": "specials", "reduce": "reducers"}[function.kind]
        )
        kinds[kind].append(function)
    header = ("written", "takes", "gives", "meaning")
    parts = {kind: table(header, map(described, functions)) for kind, functions in kinds.items()}
    names = {"pi": "π", "e": "Euler's number", "inf": "infinity", "nan": "not a number"}
    return {**parts, "constants": table(("name", "value"), ([f"`{name}`", names[name]] for name in CONSTANTS))}


def described(function: Function) -> tuple[str, str, str, str]:
    spellings = [operation(function)] if function.symbol else []
    spellings += [call(function, name) for name in function.calls]
    gives = function.gives if function.gives != "operands" else "what it took"
    return ", ".join(f"`{spelling}`" for spelling in spellings), function.takes, gives, function.document


def operation(function: Function) -> str:
    """Return an operator with its operands."""
    names = [parameter.name for parameter in function.parameters]
    if function.symbol == "[]":
        return "{}[{}]".format(*names)
    if function.symbol == "in":
        return "x in (y, ...)"
    if len(names) == 1:
        return f"{function.symbol}{' ' * function.symbol.isalpha()}{names[0]}"
    return f" {function.symbol} ".join(names)


def call(function: Function, name: str) -> str:
    """Return a call; what can be left out stands in brackets."""
    text = ""
    for parameter in function.parameters:
        if not parameter.values:
            item = f", {parameter.name}" if text else parameter.name
            text += item if parameter.required else f"[{item}]"
    return f"{name}({text})"


# Commands


def commands() -> dict[str, str]:
    (verbs,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    texts = {choice.dest: choice.help or "" for choice in verbs._choices_actions}
    return {name: command(name, texts[name], verb) for name, verb in verbs.choices.items()}


def command(name: str, text: str, verb: argparse.ArgumentParser) -> str:
    """Return how a command is used, what it does, and a table of its arguments and options."""
    actions = [action for action in verb._actions if not isinstance(action, argparse._HelpAction)]
    arguments = [repeated(action) for action in actions if not action.option_strings]
    usage = f"    fasthep-archive {name} {' '.join(arguments)} [OPTIONS]"
    rows = [row for action in actions for row in described_action(action)]
    return f"{usage}\n\n{text[0].upper()}{text[1:]}.\n\n{table(('argument or option', 'meaning'), rows)}"


def described_action(action: argparse.Action) -> Iterable[tuple[str, str]]:
    """Yield the row of an argument or option; of an argument that is one of several commands, a row for each option."""
    if not isinstance(action, argparse._SubParsersAction):
        yield spelled(action), explained(action)
        return
    yield spelled(action), "one of " + ", ".join(f"`{name}`" for name in action.choices)
    for choice in action._choices_actions:
        yield f"`{choice.dest}`", choice.help or ""
        for option in action.choices[choice.dest]._actions:
            if not isinstance(option, argparse._HelpAction):
                yield f"`{choice.dest}` {spelled(option)}", explained(option)


def repeated(action: argparse.Action) -> str:
    """Return how an argument is written in a line of usage."""
    return f"{action.metavar}..." if action.nargs == "+" else str(action.metavar)


def spelled(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar}`"
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return ", ".join(f"`{option}{value}`" for option in action.option_strings)


def explained(action: argparse.Action) -> str:
    return (action.help or "").replace("%(default)s", f"`{action.default}`")


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path)
