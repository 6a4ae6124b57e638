"""Why an output differs: the code, parameters or data that DVC recorded for its stage."""

from dataclasses import dataclass, field
from typing import Any

Stages = dict[str, dict[str, Any]]  # dvc.lock, by stage
Machines = dict[str, str]  # processor and instruction set, by file


@dataclass
class Cause:
    """What one stage was made from that differs between two versions."""

    stage: str
    code: list[str] = field(default_factory=list)  # files
    params: list[str] = field(default_factory=list)  # key: old → new
    data: list[str] = field(default_factory=list)  # results of other stages
    command: str = ""  # old → new

    @property
    def text(self) -> str:
        """The stage's own differences, those of data left out."""
        parts = [f"command {self.command}"] if self.command else []
        if self.params:
            parts.append(f"parameters {', '.join(self.params)}")
        if self.code:
            parts.append(f"code {', '.join(self.code)}")
        return "; ".join(parts)


class Causes:
    """Explains outputs of two versions."""

    def __init__(
        self, old: Stages, new: Stages, machines: tuple[Machines, Machines] = ({}, {})
    ) -> None:
        """Take what DVC recorded at both, and the machines that made their files."""
        self.old, self.new, self.machines = old, new, machines
        self.makers = {
            out["path"]: name
            for stages in (old, new)
            for name, stage in stages.items()
            for out in stage.get("outs", [])
        }
        self._known: dict[str, Cause] = {}

    def of_stage(self, name: str) -> Cause:
        """What differs for one stage."""
        if name not in self._known:
            self._known[name] = self._compare(name)
        return self._known[name]

    def roots(self, name: str) -> list[Cause]:
        """The stage and those upstream whose own code, parameters or command differ."""
        found, left, seen = [], [name], set()
        while left:
            cause = self.of_stage(left.pop(0))
            if cause.stage in seen:
                continue
            seen.add(cause.stage)
            if cause.text:
                found.append(cause)
            left += [self.makers[path] for path in cause.data if path in self.makers]
        return found

    def all(self) -> list[tuple[str, list[str]]]:
        """What differs in code, parameters and commands, each with the stages that it reaches."""
        found: dict[str, list[str]] = {}
        for name in self.old:
            if text := self.of_stage(name).text:
                found.setdefault(text, []).append(name)
        return list(found.items())

    def explain(self, path: str) -> str:
        """Why a file differs: the stages on the way to it whose own making differs."""
        name = self.makers[path]
        if name not in self.old or name not in self.new:
            return f"{name} was run in one of the versions only"
        if causes := self.roots(name):
            return ", ".join(cause.stage for cause in causes)
        before, after = (machines.get(path, "") for machines in self.machines)
        if before and after and before != after:
            return f"{name} has the same code, parameters and data: {before} → {after}"
        return f"{name} has the same code, parameters and data: it was run again"

    def _compare(self, name: str) -> Cause:
        cause = Cause(name)
        if name not in self.old or name not in self.new:
            return cause
        old, new = self.old[name], self.new[name]
        before, after = (
            {dep["path"]: dep.get("md5") for dep in stage.get("deps", [])} for stage in (old, new)
        )
        for path in sorted(set(before) | set(after)):
            if before.get(path) != after.get(path):
                known = cause.data if path in self.makers else cause.code
                known.append(path)
        cause.params = changes(old.get("params", {}), new.get("params", {}))
        if old["cmd"] != new["cmd"]:
            cause.command = f"`{old['cmd']}` → `{new['cmd']}`"
        return cause


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between nested dictionaries, as `key: old → new`."""
    before, after = flatten(old), flatten(new)
    keys = [key for key in sorted(set(before) | set(after)) if before.get(key) != after.get(key)]
    return [f"{key}: {before.get(key, 'none')} → {after.get(key, 'none')}" for key in keys]


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves of nested dictionaries, by their keys joined with dots; lists are leaves."""
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, part in value.items():
        found |= flatten(part, f"{prefix}.{key}" if prefix else str(key))
    return found
