"""Clips for browsers: cut, linked, served."""
