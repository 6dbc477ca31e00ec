"""DICOM: series in; segmentations and structure sets out. Needs the extra msdk_rt[dicom]."""
