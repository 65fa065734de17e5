"""Settings that nothing can be trained with, whatever the data and the model are."""

from __future__ import annotations

from phi3kit.finetune import methods, sharding, trackers
from phi3kit.models.loading import refuse_endpoint
from phi3kit.settings import Settings


def refuse_settings(settings: Settings) -> None:
    """Tell of them before anything is read or loaded.

    Raises:
        SettingsError: settings that exclude each other, or a tracker that is not installed.
        ModelError: the model is on a server, or there is no such device.
    """
    refuse_endpoint(settings.model)
    methods.refuse_contradictions(settings.finetune)
    sharding.refuse_unshardable(settings)
    trackers.refuse_missing(settings.finetune.report_to)
