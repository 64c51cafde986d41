"""Classifiers on stored embeddings."""
