"""docs/reference/protocols.md: what each protocol of a score demands, and every metric."""

import inspect
from collections.abc import Mapping
from typing import Any

from nextbasis.manual.fields import code, keys_of, table
from nextbasis.scoring import rules
from nextbasis.scoring.facts import METRICS, Metric
from nextbasis.scoring.rules import PROTOCOLS, Rule

HEAD = """# Protocols and metrics
`evaluation.protocol` of a scale's `evaluation.yaml` names the protocol of its scores, and
`--protocol` that of `nextbasis score`.

{}
"""
WORDS = {"raise": "rise", "shift": "shift either way", "": ""}


def page() -> str:
    """The whole page."""
    about = (inspect.getdoc(rules) or "").partition("\n\n")[2]
    parts = [
        HEAD.format(about),
        "## Protocols\n",
        _protocols(),
        "## What protocols demand\n",
        _demands(),
    ]
    return "\n".join([*parts, "## Metrics\n", _metrics()])


def _protocols() -> str:
    rows = []
    for name, rule in PROTOCOLS.items():
        settings = ", ".join(code(f"{key}={value}") for key, value in rule.settings.items())
        rows.append([code(name), _told(vars(rule)), settings, rule.offsets])
    headings = (
        "protocol",
        "demands",
        "fixes, of `evaluation`",
        "known differences",
    )
    return f"{table(rows, headings)}\n"


def _told(values: Mapping[str, Any]) -> str:
    """What a rule says other than nothing, but for its settings and offsets."""
    said = []
    for name, value in values.items():
        if value and name not in ("settings", "offsets"):
            said.append(code(name if value is True else f"{name}={value}"))
    return ", ".join(said)


def _demands() -> str:
    keys = [key for key in keys_of(Rule) if key.meaning and key.name != "settings"]
    return f"{table([[code(key.name), key.meaning] for key in keys], ('name', 'meaning'))}\n"


def _metrics() -> str:
    rows = [_metric(metric) for metric in METRICS.values()]
    headings = ("name", "heading in tables", "defined by", "computed by", "stage", "standard error")
    return f"{table(rows, (*headings, 'of fewer images it would', 'in claims'))}\n"


def _metric(metric: Metric) -> list[str]:
    few = WORDS[metric.few_images]
    cells = [code(metric.name), metric.heading, metric.paper, code(metric.code), metric.stage]
    return [*cells, code(metric.error), few, "yes" if metric.claims else ""]
