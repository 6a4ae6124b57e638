"""The reference in docs/reference, made of the code that it describes: one page a subject.

`python -m nextbasis.manual` writes the pages; a test compares them with the code. What a page says
stands in the code: in the comments and docstrings of the config's dataclasses, in what argparse is
told, in the facts of protocols and metrics, in dvc.yaml.
"""

from collections.abc import Callable
from pathlib import Path

from nextbasis.manual import command_line, configuration, files, protocols

FOLDER = Path("docs/reference")
PAGES: dict[str, Callable[[], str]] = {
    "commands.md": command_line.page,
    "configuration.md": configuration.page,
    "files.md": files.page,
    "protocols.md": protocols.page,
}
COMMAND = "python -m nextbasis.manual"


def pages() -> dict[Path, str]:
    """The text of every page by its file, from the root of the repository."""
    note = f"<!-- Written by `{COMMAND}`: edit the code that it is made of. -->\n"
    return {FOLDER / name: note + page() for name, page in PAGES.items()}
