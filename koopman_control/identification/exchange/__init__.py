"""Models to and from elsewhere: files, other packages, matrices fitted by others."""
