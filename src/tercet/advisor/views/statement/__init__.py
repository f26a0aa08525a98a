"""A grouping statement in a form in which it can be compared, and what of it may be worked out beforehand."""
