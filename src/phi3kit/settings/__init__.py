"""Typed settings: defaults < phi3kit.yaml < flags."""

from phi3kit.settings.merge import FILE_NAME, Resolved, Source, load
from phi3kit.settings.names import flatten, keys
from phi3kit.settings.schema import (
    AdviseSettings,
    AskSettings,
    CompareSettings,
    FinetuneSettings,
    IngestSettings,
    ModelSettings,
    Settings,
)

__all__ = [
    "FILE_NAME", "AdviseSettings", "AskSettings", "CompareSettings", "FinetuneSettings",
    "IngestSettings", "ModelSettings", "Resolved", "Settings", "Source", "flatten", "keys", "load",
]
