"""Our models compute today what they computed when they agreed with the official ones."""

import torch
from safetensors.torch import load_file

import goldens


def test_models_compute_what_they_did() -> None:
    golden, computed = load_file(goldens.PATH), goldens.compute()
    assert golden.keys() == computed.keys()
    for name, tensor in golden.items():
        torch.testing.assert_close(computed[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
