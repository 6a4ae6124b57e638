"""Which items each training step sees: a function of the seed and the step alone."""

import numpy as np
from jaxtyping import Int64


class Epochs:
    """Visits every item once an epoch in a random order; an incomplete last batch is dropped.

    Step s can be asked for at any time, so a resumed training sees the batches that an
    uninterrupted one would have seen. The order of the current epoch is kept.
    """

    def __init__(self, num_items: int, batch_size: int, seed: int) -> None:
        """Fix the order.

        Raises: ValueError if one batch needs more items than there are.
        """
        if not 0 < batch_size <= num_items:
            raise ValueError(
                f"batch_size must lie in [1, {num_items}], the number of items; got {batch_size}"
            )
        self.num_items, self.batch_size, self.seed = num_items, batch_size, seed
        self.steps_per_epoch = num_items // batch_size
        self._epoch = -1
        self._order: Int64[np.ndarray, " n"] = np.empty(0, np.int64)

    def batch(self, step: int) -> Int64[np.ndarray, " b"]:
        """The items of step 0, 1, 2, …"""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(self.num_items)
            self._epoch = epoch
        return self._order[position * self.batch_size : (position + 1) * self.batch_size]


def batch_indices(num_items: int, batch_size: int, seed: int, step: int) -> Int64[np.ndarray, " b"]:
    """The items of one step; see Epochs, which is cheaper for many steps."""
    return Epochs(num_items, batch_size, seed).batch(step)
