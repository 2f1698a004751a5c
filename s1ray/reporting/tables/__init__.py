"""The tables of a report, and the words above them."""
