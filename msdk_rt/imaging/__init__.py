"""Image files in and out: readers and their registry, voxel spaces, cases of a run, results, overlays."""
