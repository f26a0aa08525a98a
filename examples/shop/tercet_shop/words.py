"""Names of people and things that nobody bears, put together from syllables.

All addresses lie in the domains that are reserved for examples (RFC 2606): no mail can ever reach a person.
"""

from __future__ import annotations

import unicodedata


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FIRST_HEADS = _words(
    "Al An Be Bri Ca Chi Da De El Em Fa Fi Ge Ha He Il In Ja Jo Ka Ke Le Li Lo Ma Mi Na Ni No O Pe Ra "
    "Re Ro Sa Se So Ta Te Ve Wi Yo Ze Zo É Ö Å Ł"
)
_FIRST_TAILS = _words(
    "ra lin na mon dor vi las ri ko lia mar nel sa ton bert da fia gor len mi ne ric ssa than vin zo ya nuk bo ël"
)
_LAST_HEADS = _words(
    "Ab Ar Bal Ban Bor Bru Car Chu Cor Dal Dre Eck Fal Fen Gar Gol Gru Hal Har Hol Is Jan Jor Kal Kim "
    "Kor Lan Lar Lin Mar Mor Mül Nak New Nor Ok Or Pa Per Pol Ras Ri Ros San Sil Sto Tan Tor Tre Var "
    "Vel Wal Wes Yam Zan Çel Øst"
)
_LAST_MIDDLES = _words("a e i o u de ka li ma ne ro ta ven win")
_LAST_TAILS = _words(
    "berg by dal der dez ford gan ham ki kov land ley ler lin man mura nen ov quist ro sen son ton well ya"
)

DOMAINS = ("example.com", "example.org", "example.net", "mail.example", "post.example")

_COLOURS = _words(
    "amber azure black blue brown coral cream green grey ivory lilac mint navy olive pink plum red rose teal white"
)
_STUFFS = _words("bamboo cedar clay copper cotton felt flint glass linen oak paper pine slate straw tin wool")
_THINGS = _words(
    "basket bell blanket bookend bottle bowl box brush bucket candle clock coaster comb cushion "
    "doorstop drawer fan frame garland hook jar jug kettle ladle lamp lantern mirror mug napkin "
    "notebook parasol pitcher plate pot rack ribbon rug scarf shelf spoon stool teapot towel tray "
    "trivet vase whisk wreath"
)
CATEGORIES = (
    "Baking", "Bath", "Candles", "Christmas", "Craft", "Cups", "Cushions", "Dining", "Garden",
    "Gift wrap", "Hall", "Kitchen", "Lighting", "Nursery", "Office", "Paper", "Party", "Picnic",
    "Sewing", "Shelves", "Tea", "Tools", "Toys", "Travel",
)  # fmt: skip

# What decomposing a letter does not turn into ASCII.
_ASCII = str.maketrans({"ł": "l", "Ł": "L", "ø": "o", "Ø": "O"})


def first_names() -> list[str]:
    """Every first name there is, in a fixed order."""
    return [head + tail for head in _FIRST_HEADS for tail in _FIRST_TAILS]


def last_names() -> list[str]:
    """Every last name there is, in a fixed order."""
    return [head + middle + tail for head in _LAST_HEADS for middle in _LAST_MIDDLES for tail in _LAST_TAILS]


def mailbox(name: str) -> str:
    """A name as it stands in an address: small ASCII letters."""
    plain = unicodedata.normalize("NFKD", name.translate(_ASCII))
    return plain.encode("ascii", "ignore").decode().lower()


def product_name(number: int) -> str:
    """The name of product `number`; different for the first 15,680, and numbered after those."""
    ways = len(_COLOURS) * len(_STUFFS) * len(_THINGS)
    # A stride with no common factor walks through all names without neighbours being alike.
    number, turn = number * 6_007 % ways, number // ways
    rest, thing = divmod(number, len(_THINGS))
    colour, stuff = divmod(rest, len(_STUFFS))
    name = f"{_COLOURS[colour]} {_STUFFS[stuff]} {_THINGS[thing]}".capitalize()
    return name if turn == 0 else f"{name} no. {turn + 1}"


def slug(name: str) -> str:
    """A name as it stands in an address of the shop."""
    return mailbox(name).replace(" ", "-")
