"""Which code ran: commits, uncommitted work, and what was imported."""
