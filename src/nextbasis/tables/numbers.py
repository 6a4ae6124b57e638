"""Numbers as text: digits by metric, parameters as in the papers."""

from nextbasis.scoring.facts import METRICS


def measured_text(value: float, metric: str, sign: str = "") -> str:
    """A measured number with its metric's digits."""
    return _text(value, metric, METRICS[metric].digits, sign)


def published_text(value: float, metric: str, sign: str = "") -> str:
    """A number with the digits in which papers print its metric."""
    return _text(value, metric, METRICS[metric].published_digits, sign)


def _text(value: float, metric: str, digits: int | None, sign: str) -> str:
    if METRICS[metric].varies == "never":
        return count(value)
    text = f"{value:{sign}.3g}" if digits is None else f"{value:{sign}.{digits}f}"
    return text.replace("-", "−")


def count(value: float) -> str:
    """A number of parameters as in the papers: 1.1B, 172M, 0.31M."""
    if value >= 1e9:
        return f"{value / 1e9:.1f}B"
    return f"{value / 1e6:.0f}M" if value >= 1e7 else f"{value / 1e6:.2f}M"
