"""The `tercet` command; click and rich are known in this room only."""
