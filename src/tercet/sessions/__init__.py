"""Logins that are kept in Redis: found by a secret id, ended by time, by one call, or all of a user's at once."""

from tercet.sessions.session import Device, Session
from tercet.sessions.sessions import Sessions
from tercet.sessions.token import UserId
from tercet.telemetry import SessionRefused

__all__ = ["Device", "Session", "SessionRefused", "Sessions", "UserId"]
