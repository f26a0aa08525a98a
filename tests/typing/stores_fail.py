"""What a type checker must refuse; each line that it must refuse says so."""

from __future__ import annotations

from tercet.tercet import Tercet

Tercet(postgres_pool_sise=20)  # refused
Tercet(postgres_pool_size="many")  # refused
Tercet(postgres_tls="always")  # refused
Tercet(postgres_pooler="yes")  # refused
Tercet("postgresql://h/d")  # refused
Tercet.local(stores=("oracle",))  # refused
Tercet(postgres="postgresql://h/d", instances=2)
