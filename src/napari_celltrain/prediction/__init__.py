"""Streaming a movie through a detector."""
