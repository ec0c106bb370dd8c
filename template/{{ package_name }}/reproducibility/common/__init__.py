"""What every other room stands on: paths, errors, exit codes, files, processes, digests."""
