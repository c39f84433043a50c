"""The detector itself: its design, its network, finding peaks, loading and saving."""
