"""Notes: sentences in a manifest about what its export assumed or could not check. And warnings of such."""

MOST_NOTES = 100
LONGEST_NOTE = 2000  # characters


class ExportWarning(UserWarning):
    """An export assumed something that its inputs do not tell, or could not check it.

    The sentence is in the manifest too. Give the argument that it names, and there is no warning.
    """


class InputWarning(UserWarning):
    """A volume or a setting is used, and may not be what was meant: the sentence says what was assumed.

    A run's report and the record beside a result hold those of each case.
    """
