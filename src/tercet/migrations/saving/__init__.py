"""Steps saved as a revision of Alembic that blocks nobody."""

from tercet.migrations.saving.revision import written
from tercet.migrations.saving.save import Saved, save

__all__ = ["Saved", "save", "written"]
