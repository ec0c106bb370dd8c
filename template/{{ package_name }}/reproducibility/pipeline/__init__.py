"""How several steps become one result: their order, what of them still holds, and the chain back to the raw data."""
