"""What no line of the project may do: run what a file holds, or guess the encoding of a text."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("benchmarks/**/*.py")])
RULES = [*ROOT.glob("workflow/**/*.smk"), ROOT / "Snakefile"]
# Calls that run what they read, or give it to a shell. Of torch.load and the like see `objections`.
FORBIDDEN = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads"),
    *("shelve.open", "joblib.load", "dill.load", "dill.loads", "cloudpickle.load"),
    *("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("eval", "exec", "pandas.read_pickle", "pd.read_pickle", "torch.jit.load", "torch.hub.load"),
}
WITH_CARE = {"torch.load", "yaml.load", "np.load", "numpy.load"}  # only as `objections` says
RENAMED = {"numpy": "np", "pandas": "pd"}  # under another name no rule would know them
SAFE_LOADERS = {"SafeLoader", "CSafeLoader", "Core", "Strict"}  # the last two are ours, safe
TEXT_METHODS = (".read_text", ".write_text")
OTHER_OPENERS = {"Image", "tarfile", "zipfile", "gzip", "os", "archive", "webbrowser"}


def name_of(node: ast.expr) -> str:
    """A dotted name, such as torch.load; of other expressions what follows the last dot."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return ""


def given(call: ast.Call, name: str) -> str:
    """The source of a keyword argument; nothing if it is not given."""
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), "")


def opens_text(call: ast.Call, name: str) -> bool:
    """Whether a call of open or Path.open opens a text, as far as its arguments tell."""
    owner, _, last = name.rpartition(".")
    if last != "open" or owner in OTHER_OPENERS:
        return False
    place = 0 if owner else 1  # of the mode
    mode = given(call, "mode") or "".join(map(ast.unparse, call.args[place : place + 1])) or "'r'"
    return "b" not in mode and len(mode) <= 5


def hidden(tree: ast.AST) -> Iterator[str]:
    """Imports and uses that would keep a call from being seen for what it is."""
    dangerous = FORBIDDEN | WITH_CARE
    modules = {name.rpartition(".")[0] for name in dangerous}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{name.name}" for name in node.names}
            yield from (f"{node.lineno}: {name} by its last name" for name in names & dangerous)
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.asname not in (None, RENAMED.get(name.name)) and name.name in modules:
                    yield f"{node.lineno}: {name.name} as {name.asname}"
        if isinstance(node, ast.ClassDef):
            names = (name_of(base) for base in node.bases)
            yield from (f"{node.lineno}: made of {name}" for name in names if name in FORBIDDEN)
        if isinstance(node, ast.Assign) and name_of(node.value) in dangerous:
            yield f"{node.lineno}: {name_of(node.value)} under another name"


def objections(tree: ast.AST) -> Iterator[str]:
    """What is wrong with the calls of a module."""
    yield from hidden(tree)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = name_of(call.func)
        if name in FORBIDDEN:
            yield f"{call.lineno}: {name}"
        if name == "torch.load" and given(call, "weights_only") != "True":
            yield f"{call.lineno}: torch.load without weights_only=True"
        if name == "yaml.load" and given(call, "Loader").rpartition(".")[2] not in SAFE_LOADERS:
            yield f"{call.lineno}: yaml.load without a safe loader"
        if name in ("np.load", "numpy.load") and given(call, "allow_pickle") != "False":
            yield f"{call.lineno}: np.load without allow_pickle=False"
        if given(call, "shell") not in ("", "False"):
            yield f"{call.lineno}: {name} with shell"
        is_text = name.endswith(TEXT_METHODS) or opens_text(call, name)
        is_text = is_text or given(call, "text") == "True" and name.startswith("subprocess.")
        if is_text and not given(call, "encoding"):
            yield f"{call.lineno}: {name} without encoding"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_run_and_no_encoding_is_guessed(path: Path) -> None:
    assert list(objections(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_rules_open_no_file_and_start_no_shell_of_their_own(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for word in ("torch.load", "pickle", "yaml.load(", "shell=True", "os.system", "eval(", "open("):
        assert word not in text, f"{path}: {word}"


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("torch.load(path, weights_only=True)", 0),
        ("torch.load(path)", 1),
        ("torch.load(path, weights_only=False)", 1),
        ("pickle.loads(data)", 1),
        ("yaml.load(text)", 1),
        ("yaml.load(text, Loader=yaml.CSafeLoader)", 0),
        ("yaml.load(text, Loader=yaml.Loader)", 1),
        ("np.load(path)", 1),
        ("np.load(path, allow_pickle=False)", 0),
        ("subprocess.run(text, shell=True)", 1),
        ("subprocess.run(words, text=True)", 1),
        ("subprocess.run(words, encoding='utf-8')", 0),
        ("path.read_text()", 1),
        ("path.read_text(encoding='utf-8')", 0),
        ("open(path)", 1),
        ("open(path, 'rb')", 0),
        ("path.open()", 1),
        ("path.open('w', newline='')", 1),
        ("path.open('wb')", 0),
        ("path.open(encoding='utf-8')", 0),
        ("Image.open(path)", 0),
        ("eval(text)", 1),
        ("from pickle import loads", 1),
        ("from torch import Tensor, load", 1),
        ("from yaml import load, safe_load", 1),
        ("from os import path, system", 1),
        ("import pickle as p", 1),
        ("import torch as t", 1),
        ("import numpy as np", 0),
        ("import pickle", 0),
        ("class Reader(pickle.Unpickler): ...", 1),
        ("class Strict(yaml.CSafeLoader): ...", 0),
        ("read = torch.load", 1),
        ("error = pickle.UnpicklingError", 0),
    ],
)
def test_the_rules_see_what_they_should(line: str, count: int) -> None:
    assert len(list(objections(ast.parse(line)))) == count
