"""What made a file: the config's hash, versions of libraries, device and instruction set."""

import hashlib
import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from nextbasis.support.instructions import described

LIBRARIES = ("nextbasis", "torch", "torchvision", "torch-fidelity", "numpy")


def config_hash(config: Any) -> str:
    """SHA-256 of a config dataclass's values, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()


def device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def processor() -> str:
    """The name of the GPU or CPU model, as far as the system tells it."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def record(config: Any) -> dict[str, Any]:
    """The part of metrics.json that says how its outputs were made."""
    return {
        "config_sha256": config_hash(config),
        "versions": {name: version(name) for name in LIBRARIES}
        | {"python": platform.python_version()},
        "device": device().type,
        "processor": processor(),
        "dtype": "float32",
        "reproducible": device().type == "cpu" or torch.are_deterministic_algorithms_enabled(),
    } | described()
