"""One page that shows an image with its labels: what it shows, the page, a server for it."""
