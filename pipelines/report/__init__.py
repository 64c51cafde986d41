"""The report: one HTML page to look at and listen to."""
