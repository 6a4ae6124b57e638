"""How commands tell what they did."""


def print_report(report: dict[str, str]) -> None:
    """A line for each name, with its text in a column."""
    width = max(map(len, report))
    for name, text in report.items():
        print(f"{name:<{width}}  {text}")
