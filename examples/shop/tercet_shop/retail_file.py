"""Opens a Parquet or CSV file as the eight columns of an invoice line, whatever their spelling."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from tercet_shop.errors import FileUnfit

if TYPE_CHECKING:
    from pathlib import Path

# How a column is called here, its type, and how else it is spelt in the wild (small letters, without signs).
WANTED = {
    "invoice_no": (pa.string(), ("invoiceno", "invoice")),
    "stock_code": (pa.string(), ("stockcode",)),
    "description": (pa.string(), ("description",)),
    "quantity": (pa.int64(), ("quantity",)),
    "invoice_date": (pa.timestamp("us"), ("invoicedate",)),
    "unit_price": (pa.float64(), ("unitprice", "price")),
    "customer_id": (pa.int64(), ("customerid",)),
    "country": (pa.string(), ("country",)),
}
# ISO 8601 first; then the spelling of the original file (month, day, year).
DATE_FORMATS = (csv.ISO8601, "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S")
# The original CSV is Latin-1 (pound signs); every other is likely to be UTF-8.
ENCODINGS = ("utf8", "latin-1")


def read_table(path: Path) -> pa.Table:
    """The file's lines with the columns of WANTED and nothing else; raises FileUnfit."""
    suffix = path.suffix.lower()
    if path.is_dir():
        raise FileUnfit(str(path), reason="it is a folder")
    if not path.exists():
        raise FileUnfit(str(path), reason="there is no such file")
    if path.stat().st_size == 0:
        raise FileUnfit(str(path), reason="it is empty")
    if suffix not in {".parquet", ".csv"}:
        raise FileUnfit(
            str(path),
            reason=f"its name ends in {suffix or 'nothing'}, not .parquet or .csv",
            mend="Convert it to CSV.",
        )
    try:
        table = parquet.read_table(path) if suffix == ".parquet" else _read_csv(path)
    except (pa.ArrowException, OSError) as error:
        raise FileUnfit(str(path), reason=f"it is damaged or not {suffix}: {_first_line(error)}") from error
    if not table.num_rows:
        raise FileUnfit(str(path), reason="it has a header and no lines")
    return _typed(path, table)


def _read_csv(path: Path) -> pa.Table:
    for encoding in ENCODINGS:
        try:
            header = csv.open_csv(path, read_options=csv.ReadOptions(encoding=encoding)).schema.names
            # What looks like a number must not become one: invoice 536365 and C536365 are of one kind.
            types = {name: pa.string() for name in header if _plain(name) in _spellings(pa.string())}
            return csv.read_csv(
                path,
                read_options=csv.ReadOptions(encoding=encoding),
                convert_options=csv.ConvertOptions(
                    column_types=types, timestamp_parsers=list(DATE_FORMATS), strings_can_be_null=True
                ),
            )
        except (UnicodeDecodeError, pa.ArrowInvalid) as error:
            if encoding == ENCODINGS[-1] or "UTF8" not in str(error).replace("-", "").upper():
                raise
    raise AssertionError("the last encoding either reads or raises")


def _typed(path: Path, table: pa.Table) -> pa.Table:
    found = {_plain(name): name for name in reversed(table.column_names)}
    columns = {name: next((found[s] for s in spelt if s in found), None) for name, (_, spelt) in WANTED.items()}
    missing = [name for name, column in columns.items() if column is None]
    if missing:
        raise FileUnfit(
            str(path),
            reason=f"it has no column {', '.join(missing)}; found are {', '.join(table.column_names)}",
            mend=f"Wanted are {', '.join(WANTED)} (or InvoiceNo, StockCode, … as in the original).",
        )
    typed = {name: _as(path, name, table[column]) for name, column in columns.items()}
    return pa.table(typed)


def _as(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    wanted = WANTED[name][0]
    try:
        if name == "invoice_date" and pa.types.is_timestamp(column.type):
            return column.cast(wanted, safe=False)
        if pa.types.is_floating(column.type) and pa.types.is_integer(wanted):
            # Customers are 17850.0 in files that have passed through pandas; NaN is its way of saying
            # nothing.
            column = pc.if_else(pc.is_nan(column), None, column)
        return column.cast(wanted)
    except pa.ArrowException as error:
        raise FileUnfit(
            str(path), reason=f"its column {name} is {column.type} and not {wanted}: {_first_line(error)}"
        ) from error


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _spellings(kind: pa.DataType) -> set[str]:
    return {spelling for held, spelt in WANTED.values() if held == kind for spelling in spelt}


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
