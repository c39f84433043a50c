"""How good detections are: one-to-one matching with the annotated cells, and the usual scores.

All distances are physical: positions are multiplied by `scale` (the voxel size), and the tolerance
is in the same unit. With the default scale everything is in pixels.
"""
