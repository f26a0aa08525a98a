"""From when on an index is worth its place, each bound with its reason."""

from __future__ import annotations

# A statement must gain this much: less is within what plans of equal worth differ by, and below what a user feels.
STATEMENT_SHARE_MIN = 0.10
# The same where everything is run afterwards, which takes away what does not hold: the weighed gain may be off by far.
STATEMENT_SHARE_RUN = 0.03
# Milliseconds of one call; less than a round trip to the server takes.
STATEMENT_MS_MIN = 0.05
# Of the whole workload's time, and of the time of those statements that the index helps: what it must save.
WORKLOAD_SHARE_MIN = 0.001
# An index as big as all tables together has to save this share of the workload's time, smaller ones their part of it:
# it takes memory from the tables, and time from backups, restores and vacuum.
RENT_SHARE = 0.02
# No statement should become slower than by this.
SLOWER_MOST = 1.10
# What is beyond this is taken away whatever it gains. In between lies what the weighed times themselves are off by
# (a quarter for one statement, measured over 133 of them): it is told, and running it decides.
SLOWER_DOUBTED = 1.25
# What a statement loses beyond the first counts so often in the search, which then looks for another way.
SLOWER_WEIGHT = 10.0
# Unless others would lose so many times as much as it counts for: what saves hours is not left for what costs seconds.
SLOWER_OUTWEIGHED = 10.0
