"""`nextbasis share`: a trained run as a folder to hand on.

It holds weights, config, model card, numbers, references and checksums.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

from nextbasis.commands.arguments import add_scale, read_path
from nextbasis.commands.report import print_report
from nextbasis.pipeline.catalog import Catalog, load_catalog, section
from nextbasis.scoring.facts import SCORES
from nextbasis.support.files import check_new, result_folder, sha256, staged_folder, write_json
from nextbasis.support.words import nearest
from nextbasis.tables.inputs import TEMPLATES
from nextbasis.tables.numbers import measured_text

EXAMPLE = "nextbasis share xar_b_bar shared/xar_b_bar --scale cpu"
FORMS = TEMPLATES / "share"
LEGAL = ("LICENSE", "NOTICE")
TERMS = {
    "fashion_mnist": "It was trained on Fashion-MNIST (MIT licence, Zalando SE).",
    "digits": "It was trained on the digits of scikit-learn (Alpaydin and Kaynak 1998, UCI).",
}
OTHER_TERMS = (
    "The terms of its data apply: ImageNet and the official tokenizers' weights are for "
    "non-commercial research."
)


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "share",
        help="write a trained run as a folder to hand on",
        description="Write weights (safetensors), resolved config, model card with the measured "
        "numbers and licence notes, references and checksums into a new folder.",
    )
    command.add_argument("run", metavar="RUN", help="of the catalog, such as xar_b_bar")
    command.add_argument("out", metavar="FOLDER", type=read_path, help="to make; must not exist")
    add_scale(command)
    command.set_defaults(action=run)


def run(given: argparse.Namespace) -> int:
    """Write the folder and print of which evaluations it tells."""
    print_report(share(given.scale, given.run, given.out))
    return 0


def share(scale: str, run: str, out: Path) -> dict[str, str]:
    """Write the folder; what it holds, as lines of a report.

    Raises: ValueError for an unknown scale or run, FileExistsError if the folder exists,
    FileNotFoundError naming what was not made and the command that makes it.
    """
    from nextbasis.families.common.checkpoint import CONFIG, MODEL
    from nextbasis.sampling.finding import trained_folder

    check_new(out)
    catalog = load_catalog()
    part = section(catalog, scale)
    if run not in part["runs"]:
        known = nearest(part["runs"], run)
        raise ValueError(f"scale {scale} has no run '{run}'; choose one of {known}")
    evals = {key: entry for key, entry in part["evals"].items() if entry["run"] == run}
    source = trained_folder(scale, run)
    facts = _facts(catalog, scale, run, list(evals))
    with staged_folder(out) as folder:
        for name in (MODEL, CONFIG):
            shutil.copyfile(source / name, folder / name)
        for legal in LEGAL:
            shutil.copyfile(legal, folder / legal)
        shutil.copyfile(FORMS / "references.bib", folder / "references.bib")
        (folder / "README.md").write_text(_card(facts), encoding="utf-8")
        (folder / "cite.tex").write_text(citation(facts["name"], facts["run"]), encoding="utf-8")
        write_json(folder / "metrics.json", {"training": facts["training"], **facts["results"]})
        sums = [f"{sha256(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
        (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    return {"run": f"{scale} {run}", "evaluations": ", ".join(evals), "folder": str(out)}


def citation(name: str, run: dict[str, Any]) -> str:
    """A sentence in LaTeX that cites what the run stands on (references.bib)."""
    cited = [run["family"]] + (["bar"] if run["basis"] != "identity" else [])
    text = name.replace("_", r"\_")
    return (
        f"The model \\texttt{{{text}}} was trained with nextbasis~\\cite{{nextbasis}}, "
        f"which reimplements~\\cite{{{','.join(cited)}}}.\n"
    )


def _facts(catalog: Catalog, scale: str, run: str, evals: list[str]) -> dict[str, Any]:
    from nextbasis.tables.header import commit, warning
    from nextbasis.tables.measured import read_result, read_score

    if not evals:
        raise ValueError(
            f"no evaluation of {scale} has the run '{run}'; add one to the catalog that has the run"
        )
    scores = {key: read_score(scale, "score", key) for key in evals}
    index = result_folder(scale, "dataset") / "index.json"
    dataset = read_result(index, scale, "dataset", "")
    path = result_folder(scale, "train", run) / "metrics.json"
    return {
        "name": f"{scale}-{run}",
        "scale": scale,
        "run": section(catalog, scale)["runs"][run],
        "dataset": dataset,
        "training": read_result(path, scale, "train", run),
        "results": {"scores": scores},
        "protocol": next(iter(scores.values()))["protocol"],
        "commit": commit(),
        "warning": warning(catalog, scale),
        "terms": TERMS.get(dataset["name"], OTHER_TERMS),
        "restricted": dataset["name"] not in TERMS,
    }


def _card(facts: dict[str, Any]) -> str:
    import pandas as pd
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from nextbasis.tables.layout import NOTHING

    rows = []
    for key, score in facts["results"]["scores"].items():
        values = score["values"]
        row = {"evaluation": key, "images": f"{score['protocol']['num_images']:,}"}
        for metric in SCORES:
            if metric.name in values:
                text = measured_text(values[metric.name], metric.name)
                if metric.error:
                    text += f" ± {measured_text(values[metric.error], metric.name)}"
                row[metric.heading] = text
        rows.append(row)
    environment = Environment(
        loader=FileSystemLoader(FORMS), undefined=StrictUndefined, trim_blocks=True
    )
    table = pd.DataFrame(rows).fillna(NOTHING).to_markdown(index=False, disable_numparse=True)
    return environment.get_template("card.md.j2").render(scores=table, **facts)
