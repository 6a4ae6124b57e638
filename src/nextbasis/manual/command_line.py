"""docs/reference/commands.md: the targets of make, and every command with its arguments.

Written from what argparse was told, and not from its help, which depends on the terminal's width
and on the version of Python.
"""

import argparse
from pathlib import Path

from nextbasis.commands.cli import COMMANDS, command_line
from nextbasis.manual.fields import code, table

MAKEFILE = Path("Makefile")
HEAD = """# Commands
All are started from the repository's root. Those of `nextbasis` need the environment,
`source .venv/bin/activate`; `nextbasis COMMAND --help` prints the same as this page.

## make

```text
{targets}
```

Stages by hand are `python -m nextbasis.stages.STAGE KEY=VALUE …`;
[configuration.md](configuration.md) lists stages and keys.
"""


def page() -> str:
    """The whole page."""
    lines = MAKEFILE.read_text(encoding="utf-8").splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    targets = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[:end])
    (commands,) = (
        action.choices
        for action in command_line()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    parts = [HEAD.format(targets=targets)]
    for (name, parser), module in zip(commands.items(), COMMANDS, strict=True):
        parts.append(_command(name, parser, module.EXAMPLE))
    return "\n".join(parts)


def _command(name: str, parser: argparse.ArgumentParser, example: str) -> str:
    actions = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    actions = [action for action in actions if not isinstance(action, argparse._HelpAction)]
    rows = [[code(_shown(action)), _meaning(parser, action)] for action in actions]
    usage = " ".join(["nextbasis", name, *filter(None, map(_in_usage, actions))])
    lines = [f"## {name}", parser.description or "", "", "```text", usage, "```", ""]
    lines += [table(rows, ("argument", "meaning")), ""] if rows else []
    lines += [parser.epilog, ""] if parser.epilog else []
    if example not in (parser.epilog or ""):
        lines += ["For example", "", "```text", example, "```", ""]
    return "\n".join(lines)


def _value(action: argparse.Action) -> str:
    """What stands for the value of an argument; nothing for an option without one."""
    if action.nargs == 0:
        return ""
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices is not None:
        return f"{{{','.join(map(str, action.choices))}}}"
    return action.dest.upper()


def _shown(action: argparse.Action) -> str:
    """An argument as a user types it: `-o, --out FILE`."""
    return f"{', '.join(action.option_strings)} {_value(action)}".strip()


def _in_usage(action: argparse.Action) -> str:
    """An argument in the line of use: options only if needed, [] around what may be left out."""
    if action.option_strings:
        return f"{action.option_strings[-1]} {_value(action)}" if action.required else ""
    many = {"*": "[{} …]", "+": "{} …", "?": "[{}]"}
    return many.get(str(action.nargs), "{}").format(_value(action))


def _meaning(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """The help of an argument, with the values that it names filled in."""
    said = parser._get_formatter()._expand_help(action) if action.help else ""
    return f"{said} (needed)" if action.option_strings and action.required else said
