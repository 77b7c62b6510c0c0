"""Decide from cron whether a model must be retrained, retrain it, and promote only what is clearly better."""

__version__ = "0.1.0"
