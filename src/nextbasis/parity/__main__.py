"""Compare our models with fixtures of the official ones.

usage: python -m nextbasis.parity FIXTURE.safetensors …

Models run on the first GPU, or on the CPU where there is none.
Prints a table for each; the exit status is 1 if any output differs or any file is bad.
"""

import os
import sys
from pathlib import Path

import torch

from nextbasis.parity import compare_fixture, table
from nextbasis.support.endings import write_any_text


def main(arguments: list[str]) -> int:
    """Compare all fixtures; return the exit status."""
    if not arguments or any(argument in ("-h", "--help") for argument in arguments):
        print((__doc__ or "").strip(), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 1
    write_any_text()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    status = 0
    for argument in arguments:
        try:
            rows = compare_fixture(Path(argument))
        except (ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            status = 1
            continue
        failed = sum(not row.passed for row in rows)
        print(f"{argument}\n{table(rows)}\n{len(rows)} outputs, {failed} failed\n")
        status = status or int(failed > 0)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
