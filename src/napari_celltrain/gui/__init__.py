"""The napari side: readers, writers, widgets."""
