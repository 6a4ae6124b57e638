"""Settings of the tests: one thread, and hypothesis without a clock."""

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("nextbasis", deadline=None, derandomize=True)
settings.load_profile("nextbasis")
