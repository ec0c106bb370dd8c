"""A table as people have them: numbers, texts, dates, flags and gaps, in three classes and in groups."""

from __future__ import annotations

import numpy as np
import pandas as pd

KINDS = {
    "adelie": (38.0, 3700, "small black flippers on the ice"),
    "chinstrap": (48.0, 3730, "a thin line under its chin"),
    "gentoo": (47.0, 5070, "orange beak and a white band"),
}


def penguins(rows: int = 400) -> pd.DataFrame:
    """Make a table of which `species` or `mass` can be learned; `nest_id` is a group."""
    rng = np.random.default_rng(0)
    species = rng.choice([*KINDS], rows, p=[0.5, 0.2, 0.3])
    bill, mass, words = (np.array([KINDS[name][part] for name in species]) for part in range(3))
    table = pd.DataFrame(
        {
            "bill": (bill + rng.normal(0, 3, rows)).round(1),
            "island": np.where(species == "gentoo", "biscoe", rng.choice(["dream", "torgersen", "biscoe"], rows)),
            "sex": rng.choice(["male", "female"], rows),
            "seen": (pd.Timestamp(2024, 1, 1) + pd.to_timedelta(rng.integers(0, 700, rows), unit="D")).astype("str"),
            "ringed": rng.choice([True, False], rows),
            "comment": [" ".join(rng.choice(text.split(), 4)) for text in words],
            "nest_id": rng.integers(0, 60, rows),
            "species": species,
            "mass": (mass + rng.normal(0, 200, rows)).round(),
        }
    )
    for name in ("bill", "island", "sex"):
        table.loc[rng.choice(rows, rows // 20, replace=False), name] = np.nan
    return table
