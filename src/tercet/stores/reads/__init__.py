"""Reads of PostgreSQL: what they could see, and the replicas that may answer them."""
