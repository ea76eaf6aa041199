"""What a store in a cloud costs in a month, by list prices. docs/buckets.md tells what is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from studio_cas.formats import keys

if TYPE_CHECKING:
    from studio_cas.store.store import Store

GIB: Final = 1 << 30
MONTH: Final = 30 * 86400.0  # seconds
# What each version takes besides the objects that it creates (tests/store/test_cost.py counts it).
LISTS_OF_A_VERSION: Final = 2  # the latest version; the condemned lists
READS_OF_A_VERSION: Final = 1  # the record of the latest version


@dataclass(frozen=True, slots=True)
class Prices:
    """List prices of one cloud, in US dollars: `storage` for a GiB and month, `class_a` and `class_b` for a request.

    `egress` is for a GiB that leaves the cloud for the internet.
    """

    service: str
    as_of: str
    storage: float
    class_a: float
    class_b: float
    egress: float


# https://cloud.google.com/storage/pricing and https://aws.amazon.com/s3/pricing
PRICES: Final = {
    "gs": Prices("Google Cloud Storage, Standard, us-central1", "2025", 0.020, 5e-6, 4e-7, 0.12),
    "s3": Prices("Amazon S3, Standard, us-east-1", "2025", 0.023, 5e-6, 4e-7, 0.09),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """A month of a store: what it holds now, and requests as its last 30 days show them; in bytes, counts and dollars.

    `versions` were made in those days. Pulls leave no trace, and neither do captures that found nothing new.
    """

    prices: Prices
    stored: int
    objects: int
    versions: int
    class_a: int
    class_b: int

    @property
    def storage(self) -> float:
        """Dollars a month for what is stored."""
        return self.stored / GIB * self.prices.storage

    @property
    def requests(self) -> float:
        """Dollars for the requests."""
        return self.class_a * self.prices.class_a + self.class_b * self.prices.class_b

    @property
    def total(self) -> float:
        """Dollars a month."""
        return self.storage + self.requests


def estimate(store: Store, now: float) -> Cost | None:
    """The cost of a month, `now` being in seconds; None where there is none, or it can not be known.

    Lists every object.
    """
    prices = PRICES.get(store.url.partition("://")[0])
    if prices is None:
        return None
    stored = objects = created = versions = 0
    for found in store.backend.list(""):
        stored += found.size
        objects += 1
        if found.created > now - MONTH:
            created += 1
            versions += found.key.startswith(keys.VERSIONS)
    asked = LISTS_OF_A_VERSION * versions
    return Cost(prices, stored, objects, versions, created + asked, READS_OF_A_VERSION * versions)
