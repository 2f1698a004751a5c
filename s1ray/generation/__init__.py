"""Question and budget to completion; engines behind one Protocol."""
