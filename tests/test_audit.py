"""`make lint` asks for vulnerabilities of the lock where it can, and is silent where it cannot."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOUND = {"name": "numpy", "version": "2.4.6", "vulns": []}
SKIPPED = {"name": "torch", "skip_reason": "not on the index"}
FLAWED = {
    **{"name": "pillow", "version": "13.0.0"},
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["13.0.1"]}, {"id": "GHSA-2", "fix_versions": []}],
}


def audit(folder: Path, program: str = "", **variables: str) -> tuple[int, str]:
    """Status and output of the check where pip-audit is this program, or is not installed."""
    tool = folder / "pip-audit"
    if program:
        tool.write_text(f"#!{sys.executable}\nimport sys\n{program}\n", encoding="utf-8")
        tool.chmod(0o755)
    done = subprocess.run(
        [sys.executable, ROOT / ".ci/audit-lock"],
        cwd=ROOT,
        env=os.environ | {"PATH": str(folder)} | variables,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def reports(*packages: dict[str, object]) -> str:
    """A pip-audit that finds these packages, if it is asked as pip-audit wants to be."""
    text = json.dumps({"dependencies": packages, "fixes": []})
    return (
        "asked = dict(word.split('=', 1) for word in sys.argv[1:] if '=' in word)\n"
        "assert asked['--requirement'] == 'requirements.lock' and '--no-deps' in sys.argv\n"
        f"open(asked['--output'], 'w').write({text!r})\n"
        "print(asked.get('--ignore-vuln'))\nsys.exit(1)"
    )


def test_without_the_program_nothing_is_said(tmp_path: Path) -> None:
    assert audit(tmp_path) == (0, "")


@pytest.mark.parametrize(
    "program", ["sys.exit('ERROR: ConnectionError')", "raise OSError", reports(), reports(SOUND)]
)
def test_without_an_index_or_a_flaw_nothing_is_said(program: str, tmp_path: Path) -> None:
    assert audit(tmp_path, program) == (0, "")


def test_every_flaw_is_named_with_what_mends_it(tmp_path: Path) -> None:
    assert audit(tmp_path, reports(SOUND, FLAWED, SKIPPED)) == (
        1,
        "requirements.lock: pillow 13.0.0 has PYSEC-1; mended in: 13.0.1\n"
        "requirements.lock: pillow 13.0.0 has GHSA-2; mended in: none yet\n",
    )


def test_flaws_that_do_not_concern_us_can_be_named(tmp_path: Path) -> None:
    program = "assert '--ignore-vuln=PYSEC-1' in sys.argv\n" + reports(FLAWED)
    assert audit(tmp_path, program, AUDIT_IGNORE="PYSEC-1")[0] == 1


def test_lint_asks() -> None:
    assert "\t.ci/audit-lock\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
