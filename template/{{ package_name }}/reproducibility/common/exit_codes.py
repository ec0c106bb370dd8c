"""Every exit code, and the verdicts that some of them stand for."""

from __future__ import annotations

#: Of all commands: an error that a person can act on, a training that failed; wrong usage; a fault of the harness; an
#: interrupt.
FAILED, USAGE, FAULT, INTERRUPTED = 3, 64, 70, 130
#: Of commands on runs: a record that is not its run's, as for another result; a part that is missing.
NOT_ITS_RUNS, CANNOT_BE_TRIED = 1, 2
#: What a comparison comes to.
IDENTICAL, EQUIVALENT, DIFFERENT = "identical", "equivalent", "different"
NOT_REPRODUCIBLE = "not reproducible"
#: Of a verdict.
EXIT_CODES = {IDENTICAL: 0, EQUIVALENT: 0, DIFFERENT: 1, NOT_REPRODUCIBLE: CANNOT_BE_TRIED}
