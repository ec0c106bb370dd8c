"""Many trials of one training: planned by number, so that nothing depends on how many machines computed them."""
