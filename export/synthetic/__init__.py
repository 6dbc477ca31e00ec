"""Synthetic T1 volumes with known tissue labels, for training where no labelled scans are at hand.

The recipe is SynthSeg's (Billot et al., Medical Image Analysis 2023, arXiv 2107.09559): deform a label map,
draw an intensity for every class, then spoil the image as scanners do. Labels come from the MNI152 tissue
maps that nilearn ships; a share of the cases keeps the template's own T1 under the same deformation.
"""
