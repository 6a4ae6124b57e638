"""The plan on paper: its tables are what the command prints, its sums and bytes are right."""

import re
from collections.abc import Iterator
from functools import cache

import pytest
import yaml

from command import ROOT
from nextbasis.commands.cli import main
from nextbasis.pipeline.catalog import load_catalog
from nextbasis.plan import page, plan, storage
from nextbasis.plan.paper import Paper, paper, read_page

SCALES = ("imagenet256", "imagenet512", "ffhq256", "t2i")
PAGE = (ROOT / "docs" / "paper-scale.md").read_text()
BLOCK = re.compile(r"<!-- nextbasis (plan [^>]*?) -->\n\n(.*?)\n\n<!-- end -->", re.DOTALL)
TABLES = dict(BLOCK.findall(PAGE))


@cache
def costs(scale: str, gpus: int | None) -> Paper:
    """The costs of a scale, counted once for all tests."""
    return paper(scale, gpus)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(page, "paper", lambda scale, gpus=None: costs(scale, gpus))


@pytest.fixture(scope="module")
def ffhq() -> Iterator[Paper]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield costs("ffhq256", None)


def test_the_page_has_every_table() -> None:
    wanted = {f"plan --scale {scale} --markdown" for scale in SCALES}
    assert set(TABLES) == wanted | {"plan --order"}


@pytest.mark.parametrize("command", TABLES)
def test_tables_are_what_the_command_prints(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 0
    assert capsys.readouterr().out.rstrip("\n") == TABLES[command]


def test_the_page_names_every_claim_that_a_paper_scale_decides() -> None:
    claims = yaml.safe_load((ROOT / "config" / "claims.yaml").read_text())["claims"]
    assert [name for name in claims if f"`{name}`" not in PAGE] == []


def test_every_run_is_in_one_step() -> None:
    catalog = load_catalog()
    steps = [(step["scale"], run) for step in read_page()["steps"] for run in step["runs"]]
    assert len(steps) == len(set(steps))
    assert set(steps) == {(scale, run) for scale in SCALES for run in catalog[scale]["runs"]}


def test_bytes_are_those_of_the_files(ffhq: Paper) -> None:
    """Of a float32 array (images, views, tokens, numbers), of pixels, of weights."""
    assert ffhq.encoders() == {
        "kl16": 60_000 * (2 * 256 * 32 * 4 + 8),
        "p16": 60_000 * (2 * 256 * 768 * 4 + 8),
    }
    assert storage.images("ffhq256", [60_000, 10_000]) == 70_000 * (256 * 256 * 3 + 8)
    plain, learned = ffhq.jobs["xar_b_latent"], ffhq.jobs["xar_b_latent_bar"]
    parameters = plain.row["parameters"]["total"]
    assert plain.kept == 2 * 4 * parameters + 50_000 * (256 * 256 * 3 + 8)
    assert learned.kept - plain.kept == 3 * 4 * 256**2  # raw, averaged and as it is applied
    assert plain.scratch == 2 * 16 * parameters


def test_hours_of_a_job_are_those_of_the_plan(ffhq: Paper) -> None:
    job = ffhq.jobs["mar_b_pixel"]
    [sampling] = job.row["sampling"]
    for name, hours in job.hours.items():
        assert hours == job.row["training_hours"][name] + sampling["hours"][name]
    assert job.tables == ("bar_ffhq",) and job.seeds == 1


@pytest.mark.parametrize(
    ("form", "scale", "runs", "message"),
    [
        ("markdown", "tiny", [], "the papers' scales: imagenet256, imagenet512, ffhq256"),
        ("markdown", "ffhq256", ["xar_b_latent"], "is of all runs; leave out --run"),
    ],
)
def test_what_the_page_cannot_hold_is_refused(
    form: str, scale: str, runs: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plan(scale, runs, form=form)  # type: ignore[arg-type]
