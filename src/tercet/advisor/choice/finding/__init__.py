"""Where the choice looks: which candidates, which sets of them, and in what order."""
