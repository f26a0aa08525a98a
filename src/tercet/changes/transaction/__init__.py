"""Transactions that say what they have done: events that commit with their rows, a moment, a token."""

from tercet.changes.transaction.postgres_transaction import Transaction
from tercet.changes.transaction.postgres_transactions import HEAR_SECONDS, Transactions

__all__ = ["HEAR_SECONDS", "Transaction", "Transactions"]
