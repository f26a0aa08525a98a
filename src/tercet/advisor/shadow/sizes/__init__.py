"""How large an index would be on the disk, worked out from statistics alone."""

from tercet.advisor.shadow.sizes.distinct import of_columns
from tercet.advisor.shadow.sizes.size import Size, size

__all__ = ["Size", "of_columns", "size"]
