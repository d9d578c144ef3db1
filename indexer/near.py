"""A place on the globe with a radius: distances on a sphere, and the box that holds a circle."""

from __future__ import annotations

import math
from dataclasses import dataclass

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the Earth in metres (IUGG). A sphere is up to 0.56 % off the ellipsoid."""

_SLACK_DEGREES = 1e-7
"""About a centimetre: what rounding may take off a box, so that it never cuts into its circle."""


@dataclass(frozen=True, slots=True)
class Near:
    """All places within `radius_m` metres of a point. Degrees are WGS 84, north and east positive.

    Raises:
        ValueError: the point is not on the globe, or the radius is negative or not finite.
    """

    latitude: float
    longitude: float
    radius_m: float

    def __post_init__(self) -> None:
        if not -90 <= self.latitude <= 90 or not -180 <= self.longitude <= 180:
            raise ValueError(
                "a place has a latitude from -90 to 90 and a longitude from -180 to 180 degrees, "
                f"got {self.latitude}, {self.longitude}"
            )
        if not 0 <= self.radius_m < math.inf:
            raise ValueError(f"a radius is a length in metres from 0 up, got {self.radius_m}")

    def boxes(self) -> tuple[tuple[float, float, float, float], ...]:
        """Boxes that hold the whole circle, two where it crosses the date line: south, west, north, east in degrees.

        The half width of a circle of angle r around latitude p is asin(sin r / cos p): Bronstein, spherical
        trigonometry; where the circle holds a pole it is all longitudes.
        """
        angle = self.radius_m / EARTH_RADIUS_M
        reach = math.degrees(angle) + _SLACK_DEGREES
        south, north = self.latitude - reach, self.latitude + reach
        if south <= -90 or north >= 90:
            return ((max(south, -90.0), -180.0, min(north, 90.0), 180.0),)
        sine = math.sin(math.radians(reach)) / math.cos(math.radians(self.latitude))
        if sine >= 1:
            return ((south, -180.0, north, 180.0),)
        width = math.degrees(math.asin(sine)) + _SLACK_DEGREES
        west, east = self.longitude - width, self.longitude + width
        if west < -180:
            return ((south, -180.0, north, east), (south, west + 360, north, 180.0))
        if east > 180:
            return ((south, west, north, 180.0), (south, -180.0, north, east - 360))
        return ((south, west, north, east),)


def metres_between(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Great-circle distance of two points in degrees, by the haversine formula (Sinnott, Sky & Telescope 68, 1984)."""
    south, north = math.radians(latitude), math.radians(other_latitude)
    across = math.radians(other_longitude - longitude)
    half = math.sin((north - south) / 2) ** 2 + math.cos(south) * math.cos(north) * math.sin(across / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, half)))
