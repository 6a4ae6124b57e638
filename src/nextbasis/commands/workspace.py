"""A folder in which stages run as they do in the repository, and write nothing outside it."""

from collections.abc import Iterable, Iterator
from contextlib import chdir, contextmanager
from importlib import import_module
from pathlib import Path

OWN = ("results", "scratch")  # folders of the root that a workspace has itself


@contextmanager
def workspace(folder: Path, shared: Iterable[Path]) -> Iterator[None]:
    """Work in `folder`, made of links to all that the working folder has but its results.

    Of the results those in `shared`, folders below results/, are linked where they are there. What
    stages write lies in results/ and scratch/ of `folder`. The links go when the block ends.
    """
    root, folder = Path().resolve(), folder.resolve()
    own = {root / name for name in OWN} | {folder, *folder.parents}
    linked = [Path(path.name) for path in root.iterdir() if path.name[0] != "." and path not in own]
    links = []
    try:
        for path in [*linked, *(path for path in shared if path.exists())]:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).unlink(missing_ok=True)  # left by a kill
            (folder / path).symlink_to(root / path)
            links.append(folder / path)
        with chdir(folder):
            yield
    finally:
        for link in links:
            link.unlink()


def run_stage(kind: str, words: Iterable[str]) -> None:
    """Run the stage of a kind, told KEY=VALUE, in this process.

    Raises: ValueError or OSError naming what is wrong, as the stage does.
    """
    from nextbasis.config import compose
    from nextbasis.stages import prepare

    config = compose(kind, list(words))
    prepare(config)
    import_module(f"nextbasis.stages.{kind}").main(config)
