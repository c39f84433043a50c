"""Which experiments are learnt from, and which frames are kept for the honest test."""

from napari_celltrain.dataset.dataset_file import read_dataset_file
from napari_celltrain.dataset.loading import load_dataset
from napari_celltrain.dataset.members import Dataset, Member, Role, annotated_time_points
from napari_celltrain.dataset.splitting import Split, gap_for, near, split
from napari_celltrain.dataset.writing import write_dataset

__all__ = [
    "Dataset",
    "Member",
    "Role",
    "Split",
    "annotated_time_points",
    "gap_for",
    "load_dataset",
    "near",
    "read_dataset_file",
    "split",
    "write_dataset",
]
