"""One loop for all methods, resumable at any moment."""
