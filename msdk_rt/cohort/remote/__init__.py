"""Cases with files in object stores: fetched to where they are segmented, their results put back whole."""
