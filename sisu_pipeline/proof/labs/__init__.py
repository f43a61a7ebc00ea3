"""The labs: the system shown and shaken, with a verdict from SQL."""
