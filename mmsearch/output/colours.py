"""The colours of contact sheets, explanations and summaries, as (red, green, blue) from 0 to 255."""

GROUND = (24, 25, 29)
MAT = (33, 35, 40)
BRIGHT = (238, 239, 242)
QUIET = (150, 155, 166)
ACCENT = (96, 165, 250)
GOOD = (110, 200, 130)
WARNING = (232, 190, 96)
