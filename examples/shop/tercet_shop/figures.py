"""Numbers fitted to the Online Retail file by examples/shop/fit.py; made by it, not by hand.

Source: Online Retail, UCI Machine Learning Repository no. 352, by Daqing Chen, licence CC BY 4.0.
"""

# Orders of a customer after the first: P(at least k more) = (1 + k / scale) ** -shape.
REPEAT_SHAPE = 2.45
REPEAT_SCALE = 5.35

# Every distribution is noted at these shares.
SHARES = (
    0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5,
    0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999,
    0.9995, 1.0,
)  # fmt: skip

# An order's value in pence, its number of lines, and the price of a piece in pence.
ORDER_PENCE = (
    38, 290, 510, 850, 1570, 2220, 4000, 6575, 8710, 11250, 13411, 15714, 18170, 20750, 23708, 27022,
    30164, 31385, 33750, 36944, 41154, 46309, 53700, 64077, 81000, 95599, 121226, 171374, 223130, 376266,
    568306, 1038906, 1516090, 2027792, 16846960,
)  # fmt: skip
ORDER_LINES = (
    1, 1, 1, 1, 1, 1, 1, 2, 2, 4, 5, 7, 8, 10, 11, 13, 15, 17, 19, 21, 24, 27, 32, 38, 47, 54, 63, 76,
    86, 107, 131, 174, 219, 352, 541,
)  # fmt: skip
PRICE_PENCE = (
    4, 12, 19, 21, 29, 39, 42, 42, 55, 82, 85, 125, 125, 125, 165, 165, 195, 208, 210, 255, 295, 375,
    415, 495, 625, 795, 850, 995, 1250, 1275, 1695, 1895, 3495, 3995, 64950,
)  # fmt: skip

# How the number of lines follows the order's value (correlation of their normal scores).
LINES_FOLLOW_VALUE = 0.512

# How much the values of one order's lines differ: standard deviation of their logarithm.
LINE_SPREAD = 0.745

# How often the product at this share of the ranking is sold, the first being 1.
RANKS = (
    0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0,
)  # fmt: skip
POPULARITY = (
    1.0, 0.53727, 0.47603, 0.39282, 0.29997, 0.19624, 0.13752, 0.08156, 0.05437, 0.03707, 0.02373,
    0.01532, 0.0089, 0.00395, 0.00148, 0.00049,
)  # fmt: skip

# Orders by hour (UTC), weekday (Monday first) and month (by its days), around a mean of 1.
HOURS = (
    0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0013, 0.0378, 0.7225, 1.8037, 2.8745, 2.9501, 4.0652, 3.4209, 2.9358,
    2.6358, 1.419, 0.703, 0.2204, 0.1865, 0.0235, 0.0, 0.0, 0.0,
)  # fmt: skip
WEEKDAYS = (
    1.0877, 1.213, 1.2962, 1.5101, 1.0597, 0.0, 0.8333,
)  # fmt: skip
MONTHS = (
    0.6463, 0.7221, 0.8627, 0.7739, 1.0152, 0.9444, 0.8686, 0.8331, 1.1815, 1.2513, 1.7951, 1.1058,
)  # fmt: skip

# The share of the money that was taken back by cancellations.
TAKEN_BACK = 0.0697

# Customers by country (ISO 3166-1; ZZ is not known).
COUNTRIES = (
    "GB", "DE", "FR", "ES", "BE", "CH", "PT", "IT", "FI", "NO", "AT", "AU", "GG", "NL", "DK", "JP", "SE",
    "CY", "PL", "CA", "GR", "US", "ZZ", "IE", "IL", "AE", "BH", "MT", "BR", "CZ", "EU", "IS", "LB", "LT",
    "SA", "SG", "ZA",
)  # fmt: skip
COUNTRY_WEIGHTS = (
    3916, 94, 87, 28, 24, 20, 19, 14, 12, 10, 9, 9, 9, 9, 8, 8, 8, 7, 6, 4, 4, 4, 4, 3, 3, 2, 2, 2, 1, 1,
    1, 1, 1, 1, 1, 1, 1,
)  # fmt: skip
