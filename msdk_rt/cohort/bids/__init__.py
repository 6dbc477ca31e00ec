"""Cohorts as BIDS datasets (Brain Imaging Data Structure 1.10): raw data in, a derivative dataset out."""
