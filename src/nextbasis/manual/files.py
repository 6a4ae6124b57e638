"""docs/reference/files.md: what stages write, as dvc.yaml says it."""

import ast
import re
from pathlib import Path
from typing import Any

import nextbasis.stages
from nextbasis.manual.fields import code, table
from nextbasis.pipeline.stagelist import FILE
from nextbasis.support.yamls import read_yaml

VARIABLE = re.compile(r"\$\{(?:item\.)?(\w+)\}")
HEAD = """# Files
What a stage of the scale SCALE writes for the run, tokenizer or evaluation KEY. A file appears
whole or not at all. Those marked * are in git, of the scales whose results are kept; all others are
in DVC's cache. [results/README.md](../../results/README.md) says more.
"""


def page() -> str:
    """The whole page."""
    stages = read_yaml(Path(FILE))["stages"]
    rows = [
        [code(kind), _about(kind), *_outputs(stage.get("do", stage))]
        for kind, stage in stages.items()
    ]
    return f"{HEAD}\n{table(rows, ('stage', 'what it does', 'folder', 'files'))}\n"


def _about(kind: str) -> str:
    """The first paragraph of a stage's docstring; the stage itself would import torch."""
    source = Path(nextbasis.stages.__path__[0]) / f"{kind}.py"
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("<", "&lt;")


def _outputs(stage: dict[str, Any]) -> tuple[str, str]:
    """Folder and files of a stage's template; * behind those that are not in DVC's cache."""
    folders, files = set(), []
    for entry in [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]:
        path, options = next(iter(entry.items())) if isinstance(entry, dict) else (entry, {})
        folder, _, name = VARIABLE.sub(lambda match: match[1].upper(), path).rpartition("/")
        folders.add(folder)
        files.append(code(name) + ("" if options.get("cache", True) else r"\*"))
    (folder,) = folders
    return code(folder), ", ".join(files)
