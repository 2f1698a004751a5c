"""Answer text to verdict."""
