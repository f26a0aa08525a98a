"""Entities: one thing that lives in several stores, read at once and saved as one."""

from tercet.router.edit import Edit
from tercet.router.entity import Entity
from tercet.router.outcome import Failed, Loaded, Meta, Missing, Outcome, Outcomes, SourceMeta, State
from tercet.router.router import Router
from tercet.router.source import mongo, postgres, redis

__all__ = [
    "Edit",
    "Entity",
    "Failed",
    "Loaded",
    "Meta",
    "Missing",
    "Outcome",
    "Outcomes",
    "Router",
    "SourceMeta",
    "State",
    "mongo",
    "postgres",
    "redis",
]
