"""Steps of the plan: their cost is that of the page, their command makes their scores."""

import io
import shlex
import sys
from pathlib import Path

import pytest
from snakemake.cli import get_argument_parser

from command import ROOT, refused
from nextbasis.commands.cli import main
from nextbasis.pipeline.catalog import load_catalog
from nextbasis.pipeline.stagelist import load_stages
from nextbasis.plan.steps import find_step

SMALL, LARGE = 1, 4
ROWS = [line.split("|") for line in (ROOT / "docs/paper-scale.md").read_text().splitlines()]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("number", [SMALL, LARGE])
def test_a_step_costs_what_the_page_says_and_asks_for_its_scores(number: int) -> None:
    step = find_step(number)
    (row,) = (row for row in ROWS if row[1:2] and row[1].startswith(f" {number}. "))
    hours = [float(cell.replace(",", "")) for cell in row[4:6]]
    assert row[1].strip() == f"{number}. {step.name}" and row[2].strip() == step.scale
    assert list(step.hours.values()) == pytest.approx(hours, rel=0.01)
    assert step.is_large == (hours[0] > 100)
    scores = {
        s.outs[0] for s in load_stages(load_catalog(), only=[step.scale]) if s.kind == "score"
    }
    wanted = {f"results/{step.scale}/score/{run}/score.json" for run in step.runs}
    assert wanted == set(step.targets) <= scores
    command, *words = shlex.split(step.command)
    told = get_argument_parser().parse_args(words)
    assert command == "snakemake" and told.config == [f"scale={step.scale}"]
    assert set(told.targets) == wanted
    assert Path("profiles/slurm").is_dir()


def test_the_command_of_a_large_step_is_printed_on_confirmation_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["plan", "--step", str(SMALL), "--command"]) == 0
    assert capsys.readouterr().out == find_step(SMALL).command + "\n"
    large = ("plan", "--step", str(LARGE), "--command")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert "624 GPU-hours on A100, more than 100: add --yes" in refused(capsys, *large)
    command = find_step(LARGE).command + "\n"
    assert main([*large, "--yes"]) == 0
    assert capsys.readouterr().out == command
    for answer, status, printed in (("\n", 1, ""), ("y\n", 0, command)):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert main([*large]) == status
        out, err = capsys.readouterr()
        assert out == printed and "Print its command? [y/N]" in err


def test_a_step_shows_its_runs_and_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--step", str(SMALL)]) == 0
    out = capsys.readouterr().out
    assert "1. rehearsal" in out and "xar_b_latent_bar" in out and "snakemake --config" in out
    assert "32.4 on A100 ($64.8)" in out and "`nextbasis doctor --scale ffhq256`" in out
    assert "--step must lie in 1..25" in refused(capsys, "plan", "--step", "99")
    assert "--command is of one step" in refused(capsys, "plan", "--command")
    assert "leave out --run xar_b" in refused(capsys, "plan", "--step", "1", "--run", "xar_b")
