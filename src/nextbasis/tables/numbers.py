"""Numbers as text: digits by metric, parameters as in the papers."""

MEASURED_DIGITS = {
    "fid": 2,
    "is_mean": 2,
    "precision": 3,
    "recall": 3,
    "retrieval": 3,
    "retrieval_top5": 3,
    "geneval": 3,
}
PUBLISHED_DIGITS = {
    "fid": 2,
    "is_mean": 1,
    "precision": 2,
    "recall": 2,
    "geneval": 2,
    "seconds_per_image": 2,
    "images_per_second": 1,
}


def number_text(value: float, metric: str, digits: dict[str, int], sign: str = "") -> str:
    """A number of one metric with the digits that `digits` gives it, else three significant."""
    if metric == "params":
        return count(value)
    text = f"{value:{sign}.{digits[metric]}f}" if metric in digits else f"{value:{sign}.3g}"
    return text.replace("-", "−")


def count(value: float) -> str:
    """A number of parameters as in the papers: 1.1B, 172M, 0.31M."""
    if value >= 1e9:
        return f"{value / 1e9:.1f}B"
    return f"{value / 1e6:.0f}M" if value >= 1e7 else f"{value / 1e6:.2f}M"
