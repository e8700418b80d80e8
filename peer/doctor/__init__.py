"""The checks of ``peer doctor``."""
