"""What README and docs/ tell a reader to type is typed, in a clone whose default scale is tiny.

The clone has the results that `make test` has made at the scale tiny, under the name of the
default scale, of two runs only. A block that cannot be run says why in a comment before it.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from command import ROOT
from miniature import environment
from nextbasis.pipeline.catalog import catalog_file, load_catalog
from nextbasis.pipeline.stagelist import load_stages
from nextbasis.support.files import read_json, write_json
from pages import PAGES, Block, blocks

TINY, SCALE = "tiny", "cpu"
KEPT = {"patches", "all", "xar", "xar_b", "xar_b_bar"}  # entries of the tiny scale's catalog
ENTRY = re.compile(r"^  (\w+): .*\n", re.MULTILINE)
EMPTY = re.compile(r"^(rebased|resampled|same):( &\w+)?.*\n", re.MULTILINE)
COMMAND = re.compile(r"^    (nextbasis|snakemake|dvc|make|python|torchrun|git|pip|source) ", re.M)
DIFF = re.compile(r"^nextbasis diff [^#\n]*", re.MULTILINE)
NOTEBOOK = ROOT / "docs/quickstart.ipynb"
WALKED = [page for page in PAGES if any(not block.why_not for block in blocks(page))]


def test_every_command_stands_in_a_block_that_is_run_or_says_why_not() -> None:
    assert len(WALKED) > 5
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not COMMAND.search(text), f"{page}: commands stand in a block ```bash"
        assert text.count("<!-- not run: ") == sum(bool(block.why_not) for block in blocks(page))
        assert text.count("```bash\n") + text.count("```python\n") == len(blocks(page))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clone, committed, with nothing to do; only to be copied."""
    root = tmp_path_factory.mktemp("pages") / "clone"
    listed = run("git ls-files -z --cached --others --exclude-standard", ROOT).split("\0")
    for name in filter(None, listed):
        source, target = ROOT / name, root / name
        if not name.startswith("results/") and source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    shrink(root)
    stages = [s for s in load_stages(load_catalog(root), root, only=[SCALE]) if not s.frozen]
    for path in (path for stage in stages for path in stage.outs):
        source, target = ROOT / path.replace(f"results/{SCALE}", f"results/{TINY}"), root / path
        if not source.exists():
            pytest.skip(f"needs {source}: snakemake --cores 2 --config scale={TINY}")
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
    for config in (root / f"results/{SCALE}/train").glob("*/config.json"):
        write_json(config, read_json(config) | {"scale": SCALE})
    run(
        "git init -q && dvc commit -q -f dvc.yaml && git add -A && git commit -q -m 'tiny as cpu'",
        root,
    )
    return root


def shrink(root: Path) -> None:
    """Let the default scale have the data, the sizes and two of the runs of the tiny one."""
    for folder in (root / "src/nextbasis/families").glob(f"*/recipes/*/{TINY}"):
        shutil.copytree(folder, folder.with_name(SCALE), dirs_exist_ok=True)
    for name in ("evaluation.yaml", "resources.yaml"):
        shutil.copy2(root / f"config/scales/{TINY}/{name}", root / f"config/scales/{SCALE}/{name}")
    text = (root / catalog_file(TINY)).read_text(encoding="utf-8").replace(f"{TINY}/", f"{SCALE}/")
    text = ENTRY.sub(lambda line: line[0] if line[1] in KEPT else "", text)
    text = EMPTY.sub(r"\1:\2 {}\n", text).replace(", rar_b: *rar_b", "")
    text = text.replace(f"scale: {TINY}", f"scale: {SCALE}").replace("root: ../../..", "root: .")
    (root / catalog_file(SCALE)).write_text(text, encoding="utf-8")
    (root / "dvc.lock").unlink()


def run(command: str, root: Path) -> str:
    """What a command of the shell prints; an assertion error with all of it if it fails."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=root,
        env=environment() | {"PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("page", WALKED, ids=lambda page: page.stem)
def test_a_reader_of_the_page_gets_through(page: Path, made: Path, tmp_path: Path) -> None:
    root = tmp_path / "clone"
    shutil.copytree(made, root, symlinks=True)
    for block in blocks(page):
        if not block.why_not:
            run(as_command(block), root)


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(made: Path) -> None:
    """As a program: its code cells in order. Outputs are not committed."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs for cell in cells)
    run(as_program("\n".join(cell.source for cell in cells)), made)


def as_command(block: Block) -> str:
    """What the shell is told; status 1 of `nextbasis diff` only says that something moved."""
    code = DIFF.sub(r"\g<0> || [ $? = 1 ] ", block.code)
    return code if block.language == "bash" else as_program(code)


def as_program(code: str) -> str:
    """Python that the shell runs; plots are drawn and not shown."""
    return f"MPLBACKEND=agg {sys.executable} - <<'END'\n{code}\nEND\n"
