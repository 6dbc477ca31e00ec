"""Random numbers by key: a draw depends on its purpose and key, never on earlier draws."""

import numpy as np

SPLIT, ORDER, WINDOW = range(3)


def random_state(seed: int, purpose: int, *key: int) -> np.random.RandomState:
    """The generator of a purpose (SPLIT, ORDER, WINDOW) and key; different ones are independent."""
    return np.random.RandomState(np.random.SeedSequence([seed, purpose, *key]).generate_state(8))
