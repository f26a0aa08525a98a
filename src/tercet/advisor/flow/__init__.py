"""The stages of advising, in their order: engines, rewriting, indexing, viewing, proving, telling."""
