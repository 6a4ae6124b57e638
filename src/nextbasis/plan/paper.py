"""What a scale's runs cost together: hours, dollars and bytes by run, table and claim."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nextbasis.claims.inputs import load_claims, systems_of
from nextbasis.pipeline.catalog import evals_of, load_catalog, section
from nextbasis.plan import storage
from nextbasis.plan.estimate import assumptions, estimate
from nextbasis.plan.runs import ASSUMPTIONS, Run, runs_of
from nextbasis.support.words import listed
from nextbasis.support.yamls import check_keys, read_keys
from nextbasis.tables.inputs import table_evals, tables_of

Costs = dict[str, float]  # by GPU
PAGE = (
    "dollars",
    "confirm",
    "images",
    "trainings",
    "speeds",
    "steps",
)  # keys of `page` in config/plan.yaml


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run with its evaluations, and what they cost."""

    run: Run
    row: dict[str, Any]  # of plan.estimate
    seeds: int  # runs of its system in the catalog, this one included
    tables: tuple[str, ...]  # that show it
    training: Costs  # GPU-hours
    sampling: Costs
    kept: int  # bytes of the model and of its samples
    scratch: int  # bytes while it is trained

    @property
    def key(self) -> str:
        """The run's name in the catalog."""
        return self.run.config.key

    @property
    def hours(self) -> Costs:
        """GPU-hours of training and sampling."""
        return total([self.training, self.sampling])


@dataclass(frozen=True, kw_only=True)
class Paper:
    """One scale: its jobs, and the catalog and claims that name them."""

    scale: str
    page: dict[str, Any]  # `page` of config/plan.yaml
    jobs: dict[str, Job]
    catalog: dict[str, Any]
    claims: dict[str, Any]

    @property
    def part(self) -> dict[str, Any]:
        """The catalog's section of this scale."""
        return section(self.catalog, self.scale)

    def runs_of_claim(self, name: str) -> list[str] | None:
        """Runs that a claim's verdict at this scale rests on; None if it gives none here."""
        compared = self.claims[name]["compare"]
        systems = [system for entry in compared for system in systems_of(entry)]
        found = [evals_of(self.catalog, self.scale, system) for system in systems]
        if not systems or not all(found):
            return None
        return list(dict.fromkeys(e["run"] for evals in found for e in evals.values()))

    def encoders(self) -> dict[str, int]:
        """Bytes of the tokens of every encoder that a run uses."""
        train, _ = self.page["images"][self.scale]
        found = {}
        for name, job in self.jobs.items():
            encoder = self.part["runs"][name]["tokens"]
            entry = self.part["encoders"][encoder]
            found[encoder] = storage.tokens(entry, job.run.spec, train)
        return found

    def kept(self) -> dict[str, int]:
        """Bytes of the results that stay on disk, by what they are."""
        counts, jobs = self.page["images"][self.scale], list(self.jobs.values())
        parts = {"images of both splits, as arrays": storage.images(self.scale, counts)}
        parts |= {f"tokens of {name}": size for name, size in self.encoders().items()}
        if captions := storage.text(jobs[0].run.spec, sum(counts)):  # at most one an image
            parts["tokens of the captions"] = captions
        parts["samples of all runs"] = sum(storage.samples(self.scale, job.run) for job in jobs)
        parts["models of all runs"] = sum(job.kept for job in jobs) - parts["samples of all runs"]
        return parts


def read_page() -> dict[str, Any]:
    """`page` of config/plan.yaml."""
    page: dict[str, Any] = read_keys(ASSUMPTIONS)["page"]
    check_keys(f"{ASSUMPTIONS}: page", page, PAGE)
    return page


def paper(scale: str, gpus: int | None = None) -> Paper:
    """The costs of one of the papers' scales.

    Raises: ValueError naming the scales that config/plan.yaml knows the sizes of.
    """
    runs = runs_of(scale)  # checks that this is the repository
    page, catalog = read_page(), load_catalog()
    if scale not in page["images"]:
        raise ValueError(
            f"--markdown is of the papers' scales: {listed(page['images'])}; got '{scale}'"
        )
    assumed = assumptions(scale, gpus)
    shown = {name: table_evals(catalog, scale, name) for name in tables_of(catalog, scale, False)}
    jobs = {}
    for run in runs:
        key, row = run.config.key, estimate(run, assumed)
        parameters = row["parameters"]["total"]
        used = {name: [e["run"] for e in evals.values()] for name, evals in shown.items()}
        jobs[key] = Job(
            run=run,
            row=row,
            seeds=_seeds(section(catalog, scale), key),
            tables=tuple(name for name, names in used.items() if key in names),
            training=row["training_hours"],
            sampling=total(entry["hours"] for entry in row["sampling"]),
            kept=storage.model(run, parameters) + storage.samples(scale, run),
            scratch=storage.states(parameters, run.config.train.optimizer),
        )
    claims = load_claims()["claims"]
    return Paper(scale=scale, page=page, jobs=jobs, catalog=catalog, claims=claims)


def total(costs: Iterable[Costs]) -> Costs:
    """The sum for each GPU."""
    found: Costs = {}
    for each in costs:
        for name, value in each.items():
            found[name] = found.get(name, 0.0) + value
    return found


def _seeds(part: dict[str, Any], run: str) -> int:
    """How many runs of the catalog belong to the system of this one."""
    systems = {entry["system"] for entry in part["evals"].values() if entry["run"] == run}
    return len({e["run"] for e in part["evals"].values() if e["system"] in systems})
