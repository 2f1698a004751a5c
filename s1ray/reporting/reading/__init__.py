"""What run directories say."""
