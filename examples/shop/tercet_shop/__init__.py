"""The reference shop: a small house of its own, built on what tercet shows to everybody."""
