"""The image of a run: the locked environment and the code, for whatever container engine there is."""
