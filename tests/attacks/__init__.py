"""Files made to harm, a function each, numbered in the order of their module."""
