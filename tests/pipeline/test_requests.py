"""What Snakemake is asked for wrongly is told with what would be right."""

import shutil
import subprocess
from pathlib import Path

import pytest

from nextbasis.pipeline.catalog import load_catalog, scales
from nextbasis.pipeline.requests import check_settings, check_targets
from nextbasis.pipeline.schedule import Stages

ROOT = Path(__file__).parents[2]
CATALOG = load_catalog(ROOT)


@pytest.mark.parametrize("unknown", [["scal"], ["Scale"], ["scale "], ["exta", "foo"], ["cores"]])
def test_settings_that_nothing_reads_are_refused(unknown: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        check_settings({"scale": "tiny"} | dict.fromkeys(unknown, "x"))
    assert str(error.value) == (
        f"--config has no {' and no '.join(unknown)}; it has scale (a folder of config/scales), "
        "extra (true or false)"
    )


def test_settings_that_are_read_are_taken() -> None:
    check_settings({})
    check_settings({"scale": "tiny", "extra": True})


@pytest.mark.parametrize("path", ["results/{}/tables/a.md", "./results/{}", "results/{}/"])
@pytest.mark.parametrize("scale", scales(CATALOG))
def test_a_target_of_another_scale_names_the_setting(path: str, scale: str) -> None:
    stages = Stages(scale, ROOT)
    for other in set(scales(CATALOG)) - {scale}:
        target = path.format(other)
        with pytest.raises(ValueError, match=f"choose it by --config scale={other}$") as error:
            check_targets(["-n", target], stages)
        assert str(error.value).startswith(f"{target} is a result of scale {other}, and this")
    words = ["all", path.format(scale), path.format("nowhere"), "results", f"x/{path}"]
    check_targets(words, stages)


def test_a_misspelt_run_names_those_that_are_spelled_like_it() -> None:
    stages = Stages("cpu", ROOT)
    with pytest.raises(ValueError) as error:
        check_targets(["results/cpu/score/xar_bbar/score.json"], stages)
    said = "results/cpu/score/xar_bbar/score.json: scale cpu has no score of 'xar_bbar'; it has "
    assert str(error.value).startswith(said + "xar_b_bar")
    for stage in stages.stages:
        check_targets(stage.outs, stages)
    check_targets(["results/cpu/tables/bar_main.md", "results/cpu/claims/claims.md"], stages)


def snakemake(*words: str, folder: Path = ROOT) -> str:
    """What Snakemake says of a plan that it refuses."""
    command = ["snakemake", "--dry-run", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def test_snakemake_passes_on_what_is_wrong() -> None:
    said = snakemake("--config", "scal=tiny")
    assert "--config has no scal; it has scale (a folder of config/scales)" in said
    said = snakemake("results/cpu/tables/bar_main.md", "--config", "scale=tiny")
    assert "choose it by --config scale=cpu" in said
    said = snakemake("results/tiny/train/xar_bbar/config.json", "--config", "scale=tiny")
    assert "scale tiny has no train of 'xar_bbar'; it has" in said


def test_a_snakefile_of_elsewhere_names_the_repositorys_root(tmp_path: Path) -> None:
    said = snakemake("--snakefile", str(ROOT / "Snakefile"), folder=tmp_path)
    assert f"this Snakefile is of {ROOT}; run it from its repository's root" in said
    copied = shutil.copyfile(ROOT / "Snakefile", tmp_path / "Snakefile")
    said = snakemake("--snakefile", str(copied))
    assert f"this Snakefile is of {tmp_path}; run it from its repository's root" in said
