"""For other people's programs: gunicorn's worker class in `goroutines.ext.gunicorn`."""
