"""Checking entities: what is declared, compared with what the stores have."""
