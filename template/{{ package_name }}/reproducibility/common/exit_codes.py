"""Every exit code, and the verdicts that some of them stand for."""

from __future__ import annotations

#: Of commands on runs: a record that is not its run's, as for another result; a part that is missing.
NOT_ITS_RUNS, CANNOT_BE_TRIED = 1, 2
#: Of all commands: an error that a person can act on, or a training that failed.
FAILED = 3
#: Wrong usage.
USAGE = 64
#: A fault of the harness itself.
FAULT = 70
#: Ctrl-C, or another signal that ends a command.
INTERRUPTED = 130

#: What a comparison comes to.
IDENTICAL, EQUIVALENT, DIFFERENT = "identical", "equivalent", "different"
NOT_REPRODUCIBLE = "not reproducible"
#: Of each verdict.
EXIT_CODES = {IDENTICAL: 0, EQUIVALENT: 0, DIFFERENT: 1, NOT_REPRODUCIBLE: CANNOT_BE_TRIED}
