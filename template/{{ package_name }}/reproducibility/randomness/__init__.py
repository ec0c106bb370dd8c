"""What must not differ between two runs: seeds, the hash seed, threads and switches."""
