"""Lazy image sources behind the FrameSource protocol."""
