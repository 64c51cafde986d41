"""Recordings that sound alike, and recordings that are the same."""
