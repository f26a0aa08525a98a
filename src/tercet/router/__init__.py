"""Entities: one thing that lives in several stores, read at once and saved as one."""

from tercet.router.activity.activity import Activities, Recorded
from tercet.router.checking.finding import Finding
from tercet.router.edit import Edit
from tercet.router.entity import Entity
from tercet.router.outcome import Failed, Loaded, Meta, Missing, Outcome, Outcomes, SourceMeta, State
from tercet.router.router import Router
from tercet.router.source import mongo, postgres, redis
from tercet.router.writing.projection import Projection
from tercet.router.writing.saved import EntitySaved

__all__ = [
    "Activities",
    "Edit",
    "Entity",
    "EntitySaved",
    "Failed",
    "Finding",
    "Loaded",
    "Meta",
    "Missing",
    "Outcome",
    "Outcomes",
    "Projection",
    "Recorded",
    "Router",
    "SourceMeta",
    "State",
    "mongo",
    "postgres",
    "redis",
]
