"""The tracking server of a team: started, looked after, backed up and brought back."""
