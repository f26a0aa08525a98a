"""The advice as others read it: programs (JSON), people in a browser (HTML) or at a terminal (text)."""

from tercet.advisor.report.document import to_bytes, to_json
from tercet.advisor.report.kept import Kept
from tercet.advisor.report.page import to_html
from tercet.advisor.report.standing import schema_digest, table_digests
from tercet.advisor.report.text import Line, explained, to_text

__all__ = ["Kept", "Line", "explained", "schema_digest", "table_digests", "to_bytes", "to_html", "to_json", "to_text"]
