"""What methods that score the whole catalogue share."""
