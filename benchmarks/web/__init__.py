"""Training in a web page, against plain JavaScript."""
