"""Campaigns over a store: which clips people are asked about, how they hear them, where what they say is kept."""
