"""Filters and pipelines taken apart: which fields are asked how, and which are needed at all."""
