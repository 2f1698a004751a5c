"""What budget forcing costs and saves: the parts of ``suite=forcing``."""
