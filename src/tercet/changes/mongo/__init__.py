"""MongoDB's changes: its change streams as a Source, the places that are kept, and the lease of who leads."""
