"""Fills MongoDB's `orders` with documents that are already BSON when they reach the driver."""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from bson.raw_bson import RawBSONDocument
from pymongo import WriteConcern

from tercet_shop.bson_rows import documents
from tercet_shop.errors import NotTheShops
from tercet_shop.loaded import Loaded
from tercet_shop.tables import BLOCK, Source, blocks, no_lines, read_facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.asynchronous.database import AsyncDatabase

    from tercet_shop.port import Progress

ORDERS = "orders"
# Where documents are put until all are there, with a mark that no other load has: the batches of a killed one may be
# under way in the server still, and would come among these.
LOADING = "orders_loading_"
_MARK_BYTES = 6
# One document of its own says what `orders` holds, and whether all of it is there.
FACTS = "shop_facts"
FACTS_ID = "orders"

# Documents in one message: a message holds 48 MB, and an answer every few thousand keeps the bar moving.
BATCH = 4_096
# Batches under way at once: the server works on one while the next is put together and sent.
BATCHES_AT_ONCE = 3


async def load_mongo(mongo: AsyncDatabase[dict[str, Any]], source: Source, on_progress: Progress) -> Loaded | None:
    """Make `orders` hold exactly the documents of this shop; None when it does already.

    It counts as whole only once its mark says so, and that is written last: after a killed load all of it
    is made anew. Raises NotTheShops for a collection without a mark.
    """
    mark = await mongo[FACTS].find_one({"_id": FACTS_ID})
    if mark is None and await mongo[ORDERS].find_one({}, {"_id": 1}) is not None:
        raise NotTheShops("mongo", names=(ORDERS,))
    if mark is not None and mark["finished"] and read_facts(mark["facts"]) == source.facts:
        return None
    started, cpu_started = time.perf_counter(), time.process_time()
    facts = msgspec.to_builtins(source.facts)
    await mongo[FACTS].replace_one({"_id": FACTS_ID}, {"facts": facts, "finished": False}, upsert=True)
    for name in await mongo.list_collection_names(filter={"name": {"$regex": f"^({ORDERS}$|{LOADING})"}}):
        await mongo[name].drop()
    # Made by name: a shop may have no order at all.
    orders = await mongo.create_collection(f"{LOADING}{secrets.token_hex(_MARK_BYTES)}")
    sent = await _insert_all(orders, source, on_progress)
    await orders.rename(ORDERS, dropTarget=True)
    finished = {"facts": facts, "finished": True, "loaded_at": datetime.now(UTC)}
    # The mark's write waits for the journal, and with it for everything before it.
    marks = mongo[FACTS].with_options(write_concern=WriteConcern("majority", j=True))
    await marks.replace_one({"_id": FACTS_ID}, finished, upsert=True)
    return Loaded(
        rows=source.facts.orders,
        seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - cpu_started,
        bytes=sent,
    )


async def _insert_all(to: AsyncCollection[dict[str, Any]], source: Source, on_progress: Progress) -> int:
    """Send every document; the bytes of all of them."""
    # Single batches need not be waited for until they are on disk: the mark at the end is.
    orders = to.with_options(write_concern=WriteConcern(1, j=False))
    free = asyncio.Semaphore(BATCHES_AT_ONCE)
    total, sent, done = source.facts.orders, 0, 0

    async def insert(batch: list[RawBSONDocument]) -> None:
        nonlocal done
        try:
            await orders.insert_many(batch, ordered=False)
        finally:
            free.release()
        done += len(batch)
        on_progress("documents", done, total)

    on_progress("documents", 0, total)
    try:
        async with asyncio.TaskGroup() as group:
            for batch, size in _batches(source):
                await free.acquire()
                group.create_task(insert(batch))
                sent += size
    except ExceptionGroup as failures:
        # One batch's failure has cancelled the others; it is the one to be told.
        raise failures.exceptions[0] from failures
    return sent


def _batches(source: Source) -> Iterator[tuple[list[RawBSONDocument], int]]:
    names = source.catalogue().name
    first_lined = (source.facts.orders - source.facts.lined_orders) // BLOCK
    for block in blocks(source.facts.orders):
        orders = source.orders(block)
        lines = source.lines(block) if block >= first_lined else no_lines()
        flat, lengths = documents(orders, lines, names)
        ends = lengths.cumsum().tolist()
        starts = [0, *ends[:-1]]
        for at in range(0, len(ends), BATCH):
            pairs = zip(starts[at : at + BATCH], ends[at : at + BATCH], strict=True)
            yield (
                [RawBSONDocument(flat[start:end]) for start, end in pairs],
                ends[min(at + BATCH, len(ends)) - 1] - starts[at],
            )
