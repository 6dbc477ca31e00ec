"""The commands of msdk-rt: each module parses its options, calls the library and prints."""
