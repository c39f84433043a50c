"""Tracking formats: one module per format behind one Protocol, and a registry."""
