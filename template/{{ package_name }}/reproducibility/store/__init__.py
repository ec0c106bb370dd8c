"""Where runs live, and which of them still go on."""
