"""docs/reference/configuration.md: what stages are told, key by key."""

import inspect
from dataclasses import fields
from typing import Any

from nextbasis import families
from nextbasis.config import SCHEMAS, SECTIONS, StageConfig
from nextbasis.config.stages import SELECTORS
from nextbasis.manual.fields import Key, code, keys_of, table
from nextbasis.tokenizers import kinds

HEAD = """# Configuration
A value stands in one YAML file. A key without a default must be given there, and a key that is not
listed here is refused. The catalog of a scale names the files that its runs use; `KEY=VALUE`, such
as `train.lr=0.001`, replaces one value. "Official" means the released code of the paper named.
[config/README.md](../../config/README.md) says what else lies in `config/`.
"""
HEADINGS = ("key", "type", "default", "meaning")
NAMES = {"family": families.names, "kind": kinds.names}  # by the key that chooses a schema
FOLDERS = {
    "evaluation": "config/scales/SCALE/evaluation.yaml",
    **dict.fromkeys(("model", "train", "sampler"), "src/nextbasis/families/FAMILY/recipes/{}/"),
}


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## What each stage is told\n", _stages(), *map(_section, SECTIONS)]
    return "\n".join(parts)


def _stages() -> str:
    """A row a stage, then a row a key that is in no section."""
    every = [field.name for field in fields(StageConfig)]
    rows, keys = [], dict[Key, list[str]]()
    for stage, schema in SCHEMAS.items():
        names = [field.name for field in fields(schema)]
        sections = [f"[{name}](#{name})" for name in names if name in SECTIONS]
        own = [name for name in names if name not in SECTIONS and name not in every]
        rows.append([code(stage), ", ".join(sections), ", ".join(map(code, own))])
        for key in keys_of(schema):
            if key.name in names and key.name not in SECTIONS:
                keys.setdefault(key, []).append(stage)
    all_keys = [
        [code(key.name), code(key.kind), "all" if len(of) == len(SCHEMAS) else ", ".join(of)]
        + [key.meaning]
        for key, of in keys.items()
    ]
    told = table(rows, ("stage", "sections", f"keys besides {', '.join(map(code, every))}"))
    return f"{told}\n\n{table(all_keys, ('key', 'type', 'stages', 'meaning'))}\n"


def _section(name: str) -> str:
    place = FOLDERS.get(name, "config/{}/").format(name)
    lines = [f"## {name}", f"In `{place}`.", ""]
    schema = SECTIONS[name]
    if name not in SELECTORS:
        return "\n".join([*lines, _about(schema), "", _table(keys_of(schema)), ""])
    selector = SELECTORS[name]
    by_value = schema if isinstance(schema, dict) else {v: schema(v) for v in NAMES[selector]()}
    keys = {value: keys_of(each) for value, each in by_value.items()}
    first = next(iter(keys.values()))
    shared = [key for key in first if all(key in others for others in keys.values())]
    chosen = ", ".join(map(code, keys))
    lines += [f"`{name}.{selector}` chooses which keys there are: {chosen}. All have", ""]
    lines += [_table(shared), ""]
    for value, each in by_value.items():
        own = [key for key in keys[value] if key not in shared]
        lines += [f"### {name}.{selector}={value}", _about(each), ""]
        lines += [_table(own), ""] if own else []
    return "\n".join(lines)


def _table(keys: list[Key]) -> str:
    rows = [[code(key.name), code(key.kind), code(key.default), key.meaning] for key in keys]
    return table(rows, HEADINGS)


def _about(schema: Any) -> str:
    return inspect.getdoc(schema) or ""
