"""What `doctor` asks of a collection: is every chunk found?"""

from __future__ import annotations

from pathlib import Path

from phi3kit.errors import StoreError
from phi3kit.ingest import client, lock, mend, store, verify
from phi3kit.ingest.manifest import forget_state
from phi3kit.ingest.site import site_of
from phi3kit.records import Check
from phi3kit.settings import IngestSettings

_NAME = "index"


def check_index(wanted: IngestSettings) -> Check:
    """Look for every chunk by its own vector; build the index anew when one is not found.

    Raises:
        StoreError: the collection is damaged or not ours.
    """
    site, name = site_of(wanted.store), wanted.collection
    if not client.exists(site, name):
        return Check(_NAME, None, f"no collection '{name}' in {site}",
                     "`phi3kit ingest` makes one")
    if isinstance(site, Path) and not mend.readable(site, name):
        with lock.writer(site):
            forget_state(site / f"{name}.state.json")  # else a run would see nothing to do
        return Check(_NAME, False, f"the index of '{name}' cannot be read",
                     "Run phi3kit ingest, which embeds the texts anew")
    found = store.open_store(site, name)
    try:
        checked = verify.verify(found)
    finally:
        found.close()
    looked = (f"{checked.looked:,} chunks" if checked.looked == checked.chunks else
              f"{checked.looked:,} of {checked.chunks:,} chunks, at random,")
    told = f"{looked} of '{name}' looked for by their own vectors"
    if not checked.mendable:
        return Check(_NAME, True, told + (": all found" if not checked.missing else (
            f"; {len(checked.missing):,} have more than {verify.NEAREST} others nearly alike")))
    told += f": {len(checked.missing):,} not found"
    try:
        with lock.writer(site):
            after = verify.reindex(site, name)
    except StoreError as error:
        return Check(_NAME, False, f"{told}, and it cannot be built anew: {error.what}",
                     error.mend or "")
    told += "; the index was built anew"
    if after.cut_off:
        return Check(_NAME, False, f"{told}, and {len(after.cut_off):,} are still not found",
                     "Ask with --retrieval hybrid, which finds by words too")
    return Check(_NAME, True, told)
