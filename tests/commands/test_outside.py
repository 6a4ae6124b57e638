"""Samples from outside become rows, samples leave permuted, samplers are compared in pairs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from command import ROOT, refused
from nextbasis.commands import compare as module
from nextbasis.commands.cli import main
from nextbasis.commands.compare import check_pair
from nextbasis.commands.score import _tables
from nextbasis.pipeline.catalog import load_catalog
from nextbasis.scoring.brought import choose_evaluation, import_statistics
from nextbasis.scoring.extractor import Extractor, load_extractor
from nextbasis.scoring.features import extract
from nextbasis.scoring.frechet import frechet_distance, influences, paired_error
from nextbasis.scoring.reference import load_reference
from nextbasis.scoring.score import score_images
from nextbasis.support.files import read_json, sha256, write_json
from nextbasis.tables import measured
from nextbasis.tables.external import add_row, read_rows, slug
from nextbasis.tables.inputs import result_inputs
from scoring import CPU, balanced, gaussian, pictures, statistics


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository whose cpu evaluation takes 200 reference images; samples.npz is there."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "src").symlink_to(ROOT / "src")
    path = tmp_path / "config/scales/cpu/evaluation.yaml"
    path.write_text(path.read_text().replace("num_reference: 10000", "num_reference: 200"))
    monkeypatch.chdir(tmp_path)
    np.savez("samples.npz", pictures(300, seed=2, contrast=200))
    np.savez("real.npz", pictures(400, seed=1))
    np.save("labels.npy", balanced(400))
    yield tmp_path


def make_reference() -> None:
    options = ("--scale", "cpu", "--classes", "10", "--labels", "labels.npy")
    assert main(["reference", "real.npz", "ref", "--computed-on", "400 pictures", *options]) == 0


def score(*options: str, name: str = "DiT", reference: str = "ref") -> list[str]:
    words = ["score", "samples.npz", "--reference", reference, "--as", name]
    return [*words, "--scale", "cpu", "--classes", "10", *options]


def test_samples_become_a_row_with_all_that_makes_it_comparable(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_reference()
    assert main(score("--source", "the authors", "--rounding", "round")) == 0
    out = capsys.readouterr().out
    assert "fid" in out and "bar_main" in out
    assert "of 300 images, this scale's own are of 2,000" in out
    row = read_rows()["DiT"]
    assert row["source"] == "the authors" and row["scale"] == "cpu"
    found = read_json(Path(row["score"]))
    protocol = found["protocol"]
    assert protocol["samples_sha256"] == row["sha256"]
    assert protocol["samples_file_sha256"] == sha256(Path("samples.npz"))
    assert protocol["rounding"] == "round" and protocol["per_class"] == "labels not given"
    assert protocol["reference"] == "400 pictures" and protocol["is_order"].startswith("permuted")
    config = choose_evaluation("cpu", "", "")
    wanted = score_images(
        pictures(300, seed=2, contrast=200), None, load_reference(Path("ref"), config), config, CPU
    )
    assert found["values"] == pytest.approx(wanted["values"], rel=1e-6)
    assert "usage" not in capsys.readouterr().err
    assert (
        Path("config/external.yaml")
        .read_text(encoding="utf-8")
        .startswith("# Samples made outside")
    )


def test_the_number_of_classes_is_that_of_the_scale(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--scale", "cpu", "--labels", "labels.npy")
    assert main(["reference", "real.npz", "ref", "--computed-on", "400 pictures", *options]) == 0
    assert read_json(Path("ref/index.json"))["num_classes"] == 10
    capsys.readouterr()
    assert "--classes must be at least 1" in refused(capsys, *score("--classes", "-1"))


def test_a_row_is_replaced_only_when_told(capsys: pytest.CaptureFixture[str]) -> None:
    make_reference()
    assert main(score()) == 0
    capsys.readouterr()
    error = refused(capsys, *score(name="dit"))
    assert "has a row 'DiT' already; --replace" in error
    assert main(score("--replace", name="dit")) == 0
    assert list(read_rows()) == ["dit"]


def test_bad_samples_write_nothing_and_compute_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_reference()
    capsys.readouterr()
    before = Path("config/external.yaml").read_text(encoding="utf-8")
    monkeypatch.setattr(Extractor, "features", lambda *_: pytest.fail("computed features"))
    np.savez("float.npz", pictures(300, seed=2) / np.float32(255))
    np.savez("small.npz", pictures(300, seed=2)[:, :16, :16])
    np.savez("few.npz", pictures(15, seed=2))
    np.savez("other.npz", mu=np.zeros(3), sigma=np.eye(3))
    np.savez("bare.npz", mu=np.zeros(3))
    np.save("short.npy", balanced(100))
    for words, message in (
        (["float.npz", "ref"], "must be uint8, got float32"),
        (["small.npz", "ref"], r"the reference has (32, 32, 1)"),
        (["few.npz", "ref"], "15 images are too few"),
        (["absent.npz", "ref"], "no file or folder absent.npz"),
        (["samples.npz", "absent"], "--reference: no file or folder absent"),
        (["samples.npz", "other.npz"], "mu has 3 numbers, the extractor 128 features"),
        (["samples.npz", "bare.npz"], "bare.npz has no sigma; it has mu"),
        (["samples.npz", "ref", "--labels", "short.npy"], "must be one integer per image"),
        (["samples.npz", "ref", "--labels", "none.npy"], "--labels: no file none.npy"),
        (["samples.npz", "ref", "--protocol", "adm"], "evaluation.extractor must be inception"),
        (["samples.npz", "ref", "--protocol", "fid"], "evaluation.protocol must be one of"),
        (["samples.npz", "ref", "--weights", "gone"], "needs the file gone, which is not there"),
    ):
        samples, reference, *options = words
        line = ["score", samples, "--reference", reference, "--as", "X", "--scale", "cpu"]
        assert message in refused(capsys, *line, "--classes", "10", *options)
    assert "must be a name such as" in refused(capsys, *score(name="///"))
    assert Path("config/external.yaml").read_text(encoding="utf-8") == before
    assert not Path("results").exists()


def test_statistics_of_adm_and_mar_are_imported(capsys: pytest.CaptureFixture[str]) -> None:
    config = choose_evaluation("cpu", "", "")
    real = pictures(200, seed=1)
    found = extract(real, load_extractor(config, CPU), 64, "real")
    stats = found.statistics
    np.savez("mar.npz", mu=stats.mu, sigma=stats.sigma)
    spatial = gaussian(12, 3)
    np.savez(
        "adm.npz",
        mu=stats.mu.astype(np.float32),
        sigma=stats.sigma,
        mu_s=spatial.mu,
        sigma_s=spatial.sigma,
        arr_0=real,
    )
    mar = import_statistics(Path("mar.npz"), config, 10, "all")
    assert mar.features is None and mar.spatial is None and mar.sha256 == sha256(Path("mar.npz"))
    adm = import_statistics(Path("adm.npz"), config, 10, "all")
    assert frechet_distance(adm.statistics, mar.statistics) == pytest.approx(0, abs=1e-5)
    assert adm.spatial is not None and adm.spatial.mu.shape == (12,)
    np.testing.assert_allclose(adm.features, found.pooled, rtol=1e-5, atol=1e-6)
    values = score_images(pictures(300, 2), None, mar, config, CPU)["values"]
    assert "fid" in values and not {"precision", "recall", "kid"} & values.keys()
    options = ("--scale", "cpu", "--classes", "10")
    assert main(["reference", "adm.npz", "in", "--computed-on", "200 pictures", *options]) == 0
    again = load_reference(Path("in"), config)
    assert again.index["imported_sha256"] == sha256(Path("adm.npz"))
    np.testing.assert_allclose(again.radii, adm.radii)
    np.savez("adm.npz", mu=stats.mu, sigma=stats.sigma, arr_0=real[:50])
    with pytest.raises(ValueError, match="arr_0 must be 200 uint8 images"):
        import_statistics(Path("adm.npz"), config, 10, "all")
    capsys.readouterr()
    assert "in exists already" in refused(
        capsys, "reference", "adm.npz", "in", "--computed-on", "x", *options
    )


def test_reference_of_few_images_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("reference", "few.npz", "out", "--computed-on", "x", "--scale", "cpu")
    np.savez("few.npz", pictures(100, seed=1))
    assert "holds 100 images, evaluation.num_reference is 200" in refused(capsys, *words)


def samples(key: str, images: np.ndarray, labels: np.ndarray) -> None:
    folder = Path("results/cpu/sample") / key
    folder.mkdir(parents=True)
    np.save(folder / "samples.npy", images)
    np.save(folder / "labels.npy", labels)


def test_exported_samples_are_permuted_and_score_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    images, labels = pictures(200, seed=3), balanced(200)
    samples("mar_b", images, labels)
    assert main(["export-samples", "mar_b", "out.npz"]) == 0
    with np.load("out.npz") as file:
        order = np.random.RandomState(2020).permutation(200)
        np.testing.assert_array_equal(file["arr_0"], images[order])
        np.testing.assert_array_equal(file["labels"], labels[order])
        assert (np.diff(file["labels"]) < 0).sum() > 50
    capsys.readouterr()
    assert "out.npz exists already" in refused(capsys, "export-samples", "mar_b", "out.npz")
    assert "must end in .npz" in refused(capsys, "export-samples", "mar_b", "out.npy")
    for words, wanted in (
        (["xar_b"], "results/cpu/sample/xar_b/samples.npy"),
        (["mar_x"], "no evaluation 'mar_x' at scale cpu; choose among mar_"),
        (["mar_b", "--scale", "tinny"], "scale must be one of tiny, "),
    ):
        assert wanted in refused(capsys, "export-samples", words[0], "b.npz", *words[1:])


def test_paired_error_is_the_spread_of_differences_over_noise() -> None:
    """Two variants of one generator on the same noise; far below the error of independent ones."""
    generator = np.random.default_rng(0)
    labels, reference = np.repeat(np.arange(4), 150), gaussian(6, 1)
    means, root = generator.normal(size=(4, 6)), generator.normal(size=(6, 6)) / 3
    differences, errors = [], []
    for _ in range(150):
        noise = generator.normal(size=(600, 6)) @ root
        sets = [means[labels] + scale * noise for scale in (1.0, 1.05)]
        stats = [statistics(features) for features in sets]
        one, two = (influences(x, found, reference) for x, found in zip(sets, stats, strict=True))
        errors.append(paired_error(one, two, labels))
        values = [frechet_distance(found, reference) for found in stats]
        differences.append(values[1] - values[0])
    assert 0.85 < np.mean(errors) / np.std(differences, ddof=1) < 1.15


def test_compare_prints_the_difference_and_its_verdict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_reference()
    shutil.copytree("ref", "results/cpu/reference")
    catalog = load_catalog()
    catalog["cpu"]["evals"]["mar_b_cold"] = dict(catalog["cpu"]["evals"]["mar_b"])
    monkeypatch.setattr(module, "load_catalog", lambda: catalog)
    images = pictures(200, seed=3)
    samples("mar_b", images, balanced(200))
    samples("mar_b_cold", images // 2, balanced(200))
    capsys.readouterr()
    assert main(["compare", "mar_b", "mar_b_cold"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == ["verdict", "worse"] and "paired standard error" in lines[-2]
    error = refused(capsys, "compare", "mar_b", "mar_b_s1")
    assert "mar_b and mar_b_s1 differ in seed (0 and 1)" in error
    with pytest.raises(ValueError, match="no evaluation 'x' at scale cpu; choose among"):
        check_pair(catalog, "cpu", "mar_b", "x")


def test_compare_of_two_trainings_is_decided_by_their_seeds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_reference()
    shutil.copytree("ref", "results/cpu/reference")
    images = pictures(200, seed=3)
    samples("xar_b", images, balanced(200))
    samples("xar_b_bar", images // 2, balanced(200))
    capsys.readouterr()
    assert main(["compare", "xar_b", "xar_b_bar"]) == 0
    out = capsys.readouterr().out
    assert "of these two trainings alone" in out and "over seeds" not in out
    assert "not known without results/cpu/train/xar_b/config.json" in out
    assert out.split()[-1] == "seed" and "worse at this seed" in out
    fids = {"xar_b": 5.0, "xar_b_s1": 5.2, "xar_b_s2": 5.4}
    fids |= {"xar_b_bar": 4.9, "xar_b_bar_s1": 5.3, "xar_b_bar_s2": 5.3}
    scores = {key: {"values": {"fid": value}} for key, value in fids.items()}
    for key in fids:
        write_json(Path("results/cpu/score") / key / "score.json", {})
    monkeypatch.setattr(measured, "read_score", lambda scale, kind, key: scores[key])
    assert main(["compare", "xar_b", "xar_b_bar"]) == 0
    lines = capsys.readouterr().out.splitlines()
    mean, deviation = np.mean([-0.1, 0.1, -0.1]), np.std([-0.1, 0.1, -0.1], ddof=1)
    assert f"{mean:+.4f} ± {deviation / 3**0.5:.4f} (standard error of 3 pairs)" in lines[-2]
    assert lines[-1].split() == ["verdict", "undecided"]


def test_compare_tells_what_two_trainings_were_told_differently() -> None:
    told: dict[str, object] = {"key": "a", "seed": 0, "model": {"family": "xar", "width": 64}}
    told |= {"basis": {"init": "identity"}, "train": {"lr": 0.002}}
    other = told | {"key": "b", "basis": {"init": "klt"}, "train": {"lr": 0.003}}
    far = told | {"key": "far", "model": {"family": "mar", "depth": 3}}
    for run, config in {"a": told, "b": other, "far": far, "again": told | {"key": "c"}}.items():
        write_json(Path("results/cpu/train") / run / "config.json", config)
    assert module.settings("cpu", "a", "b") == "basis; train.lr: 0.002 → 0.003"
    assert module.settings("cpu", "a", "again") == "nothing"
    assert module.settings("cpu", "a", "far") == "model.family: xar → mar"


def test_names_are_compared_without_signs() -> None:
    assert slug("VAR-d30 (re)") == slug("var_d30_re") != slug("VAR-d30")
    assert slug("MAR-B + BAR") == slug("mar_b_bar")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("VAR-d30+", "vard30+"),
        ("Café 2", "café2"),
        ("Cafe\u0301", "café"),
        ("模型-Ⅸ", "模型ix"),
        ("Модель", "модель"),
        ("x²", "x2"),
    ],
)
def test_a_plus_and_letters_of_any_script_are_compared(name: str, wanted: str) -> None:
    assert slug(name) == wanted


def test_a_plus_makes_another_row(capsys: pytest.CaptureFixture[str]) -> None:
    make_reference()
    assert main(score(name="VAR-d30+")) == 0
    assert main(score(name="VAR-d30")) == 0
    rows = read_rows()
    assert list(rows) == ["VAR-d30+", "VAR-d30"]
    assert rows["VAR-d30+"]["score"] != rows["VAR-d30"]["score"]


def test_names_that_files_cannot_hold_are_refused_before_scoring(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_reference()
    capsys.readouterr()
    before = Path("config/external.yaml").read_bytes()
    monkeypatch.setattr(Extractor, "features", lambda *_: pytest.fail("computed features"))
    for words, message in (
        (score(name="zo\udceb"), "--as: 'zo\\udceb' must be a name"),
        (score("--source", "zo\udceb"), "--source must be UTF-8, got 'zo\\udceb'"),
        (score(name="a" * 300), "--as must be a name of at most 200 bytes, got 300"),
        (score(name="猫" * 80), "at most 200 bytes, got 240"),
        (score(name="\ufdfa" * 10), "at most 200 bytes, got 300"),  # 15 letters each if compared
        (
            ["reference", "real.npz", "new", "--computed-on", "zo\udceb", "--scale", "cpu"],
            "--computed-on must be UTF-8",
        ),
    ):
        assert message in refused(capsys, *words)
    assert Path("config/external.yaml").read_bytes() == before
    assert not Path("results").exists() and not Path("new").exists()


def test_a_path_that_is_not_utf8_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    make_reference()
    shutil.copy("samples.npz", os.fsdecode(b"zo\xe9.npz"))
    words = score()
    words[1] = os.fsdecode(b"zo\xe9.npz")
    assert main(words) == 0
    row = read_rows()["DiT"]
    assert row["source"] == r"zo\xe9.npz"
    assert read_json(Path(row["score"]))["protocol"]["samples"] == r"zo\xe9.npz"


def test_texts_that_look_like_numbers_stay_texts(capsys: pytest.CaptureFixture[str]) -> None:
    make_reference()
    assert main(score("--source", "010", name="1e5")) == 0
    assert read_rows()["1e5"]["source"] == "010"


def test_rows_that_yaml_cannot_hold_are_not_written() -> None:
    before = Path("config/external.yaml").read_bytes()
    with pytest.raises(ValueError, match="cannot be written as YAML"):
        add_row("x", {"source": "zo\udceb"})
    assert Path("config/external.yaml").read_bytes() == before


def test_copies_among_samples_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    make_reference()
    with np.load("samples.npz") as file:
        images = file["arr_0"]
    capsys.readouterr()
    assert main(score()) == 0
    assert "exact copies" not in capsys.readouterr().out
    images[7], images[9] = images[3], images[3]
    np.savez("samples.npz", images)
    assert main(score("--replace")) == 0
    assert "2 of 300 images are exact copies of others" in capsys.readouterr().out
    assert read_json(Path(read_rows()["DiT"]["score"]))["protocol"]["duplicates"] == 2


def test_classes_of_another_number_than_the_references_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_reference()
    capsys.readouterr()
    error = refused(capsys, *score("--classes", "7"))
    assert "--classes is 7, and the reference is of 10 classes" in error
    assert not Path("results").exists()


def test_statistics_of_zeros_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("zeros.npz", mu=np.zeros(128), sigma=np.zeros((128, 128)))
    assert main(score(reference="zeros.npz")) == 0
    assert "the reference's sigma is zero" in capsys.readouterr().out


def test_the_last_line_shows_the_row(capsys: pytest.CaptureFixture[str]) -> None:
    make_reference()
    capsys.readouterr()
    assert main(score(name="MAR-B")) == 0
    out = capsys.readouterr().out
    assert "  python -m nextbasis.tables --scale cpu --outside\n" in out
    *_, last = out.splitlines()
    assert last.startswith("tables ") and "are to be made first" in last  # nothing else is here


def test_where_all_is_made_the_scale_s_own_command_is_named() -> None:
    catalog = load_catalog()
    for path in result_inputs(catalog, "cpu", catalog["cpu"]["evals"], []):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    add_row("Nobody's", {"scale": "cpu", "score": "s.json", "source": "x", "sha256": "0"})
    write_json(Path("s.json"), {"values": {"fid": 1.0}, "protocol": {}})
    told = _tables("Nobody's", "cpu")
    assert told["all of the scale"] == "snakemake --cores 2 --config scale=cpu"
    assert told["tables"] == "rar_main"  # of the scale's tables the one with other people's rows


@pytest.mark.parametrize("scale", ["cpu", "emoji"])
def test_only_tables_of_the_scale_are_named(scale: str) -> None:
    """A row of its own stands in every table of the scale that has rows of other people's."""
    add_row("Nobody's", {"scale": scale, "score": "s.json", "source": "x", "sha256": "0"})
    write_json(Path("s.json"), {"values": {"fid": 1.0}, "protocol": {}})
    told = _tables("Nobody's", scale)
    assert "all of the scale" not in told  # which would train what is not made here
    named = told["tables"].partition(";")[0].split(", ")
    catalog = load_catalog()
    systems = {entry["system"] for entry in catalog[scale]["evals"].values()}
    systems |= {name for name, same in catalog[scale].get("same", {}).items()}
    for table, entry in catalog["tables"].items():
        is_made = any(row.get("system") in systems for row in entry["rows"])
        others = any("system" not in row and "published" in row for row in entry["rows"])
        shows = entry["kind"] == "systems" and "fid" in entry["metrics"]
        assert (table in named) == (is_made and others and shows), table


def test_outputs_of_reference_that_cannot_be_made_are_told_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Extractor, "features", lambda *_: pytest.fail("computed features"))
    Path("link").symlink_to("gone")
    Path("file").touch()
    for out, message in (
        ("link", "link exists already"),
        ("file", "file exists already"),
        ("file/below/it", "file is no folder"),
    ):
        words = ("reference", "real.npz", out, "--computed-on", "x", "--scale", "cpu")
        assert message in refused(capsys, *words)


def test_endings_in_capitals_are_of_the_same_files() -> None:
    config = choose_evaluation("cpu", "", "")
    stats = gaussian(128, 0)
    np.savez("mar.npz", mu=stats.mu, sigma=stats.sigma)
    shutil.move("mar.npz", "MAR.NPZ")
    words = ("reference", "MAR.NPZ", "in", "--computed-on", "x", "--scale", "cpu")
    assert main(words) == 0
    np.testing.assert_array_equal(load_reference(Path("in"), config).statistics.sigma, stats.sigma)
